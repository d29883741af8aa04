/**
 * When lanes are told to begin a handshake. WireGuard begins one when there is a packet, tries again every five seconds, and gives up after 90; by a lane
 * that waits no packet goes, and the other node may be blocked, away, or slow to hear of the key, for as long as it likes. So whoever waits goes on
 * asking, with pauses that grow up to {@link LONGEST_SECONDS}; the lane that is used meanwhile is asked once a minute, so that somebody who is there can
 * be told from somebody who is not. Every few times the peer is made anew: what WireGuard remembers of its attempts, and of the time that the other
 * node's clock had, goes with it, and a lane without a handshake carries nothing that could be lost.
 */
import type { Lane, PeerLane } from "./lanes.ts";

const LONGEST_SECONDS = 30;
const USED_SECONDS = 60;
const ANEW_EVERY = 5;
/** Handshakes cost both ends time; so many are begun at once. */
const AT_ONCE = 64;

/** Something to do to a peer of a lane's device. */
export interface Wake {
  lane: Lane;
  key: string;
  /** Remove it and put it again. */
  anew: boolean;
}

/** Lanes to a node, better ones behind, and the place of the one by which is sent. */
export interface Waiting {
  lanes: readonly PeerLane[];
  used: number;
  agreed: (lane: PeerLane) => boolean;
}

const idOf = ({ lane, key }: PeerLane): string => `${lane} ${key}`;

/** Keeps account of what was asked. */
export class Wakes {
  #asked = new Map<string, { times: number; next: number }>();

  /** What is to be done now. @param now in seconds, of a clock that nobody sets */
  due(pairs: Iterable<Waiting>, now: number): Wake[] {
    const asked = new Map<string, { times: number; next: number }>();
    const wakes: Wake[] = [];
    for (const { lanes, used, agreed } of pairs) {
      const last = lanes.length - 1;
      if (last < 1 || (used === last && agreed(lanes[last] as PeerLane))) continue;
      for (const [index, one] of lanes.entries()) {
        if (index < used) continue;
        const waits = index > used || !agreed(one);
        const id = idOf(one);
        const before = this.#asked.get(id) ?? { times: 0, next: waits ? now + 1 : now + USED_SECONDS };
        const isDue = now >= before.next && wakes.length < AT_ONCE;
        const times = before.times + Number(isDue);
        const pause = waits ? Math.min(2 ** Math.min(times, 8), LONGEST_SECONDS) : USED_SECONDS;
        asked.set(id, isDue ? { times, next: now + pause } : before);
        if (isDue) wakes.push({ lane: one.lane, key: one.key, anew: waits && times % ANEW_EVERY === 0 });
      }
    }
    this.#asked = asked;
    return wakes;
  }
}
