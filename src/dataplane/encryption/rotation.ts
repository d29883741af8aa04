/**
 * When a node may forget its old key: once no other node that is there uses it any more. The nodes that know a second key are watched by what the kernel
 * has counted, since the last word in this is what arrives:
 *
 * - a node has gone over once there was a handshake with the next key, and for {@link QUIET_SECONDS} nothing has come by the old one. It counts with the
 *   key of the other node by which is sent now: that node may have forgotten its own old key, and this one not have heard of it;
 * - a node from which nothing at all has come by the old key for {@link SILENT_SECONDS} is away, and waited for no longer than {@link LIMIT_SECONDS}
 *   after this agent has begun to wait; it hears of the key from the API server when it comes back;
 * - a node that answers with the old key, and not with the next one, is waited for without an end: it would be cut off.
 *
 * A node that knows one key alone is not waited for: it could not go over.
 */
import type { WireguardPeerState } from "../../netlink/index.ts";
import { DEVICES, type Lane, type PeerLane, type Slot, slotHere } from "./lanes.ts";

export const QUIET_SECONDS = 20;
export const SILENT_SECONDS = 420;
export const LIMIT_SECONDS = 600;
/** What goes on for longer stands still. */
export const STANDS_SECONDS = 300;

/** A node and its lanes as the kernel has them. */
export interface Pair {
  node: string;
  /** It knows a second key. */
  knows: boolean;
  /** Where the devices of its lanes are: an address. */
  at: string;
  /** `error`: why this node has no device for one. */
  lanes: readonly (PeerLane & { state: WireguardPeerState | undefined; error?: string | undefined })[];
  /** The one by which is sent. */
  used: Lane | undefined;
}

/** A node that has not gone over, and why. */
export interface Awaited {
  node: string;
  why: string;
}

interface Track {
  /** Bytes that have come by the old key. */
  bytes: number;
  /** When they changed. */
  changed: number;
  /** Since when there is a handshake with the next one. */
  agreed: number | undefined;
}

/** Watches one rotation of this node. */
export class Rotation {
  /** The slot of the old key. */
  readonly #old: Slot;
  readonly #began: number;
  #tracks = new Map<string, Track>();
  #awaited: Awaited[] = [];
  #looked = false;

  /** @param now in seconds, of a clock that nobody sets */
  constructor(old: Slot, now: number) {
    this.#old = old;
    this.#began = now;
  }

  /** For how long this agent waits, in seconds. */
  seconds(now: number): number {
    return now - this.#began;
  }

  /** Nodes that have not gone over at the last look. */
  get awaited(): readonly Awaited[] {
    return this.#awaited;
  }

  /** Whether it takes longer than it should. */
  standsStill(now: number): boolean {
    return this.#awaited.length > 0 && this.seconds(now) >= STANDS_SECONDS;
  }

  /** Whether the old key can be forgotten. */
  isOver(now: number): boolean {
    return this.#looked && this.#awaited.length === 0 && this.seconds(now) >= QUIET_SECONDS;
  }

  /** Takes how all pairs stand. */
  look(pairs: Iterable<Pair>, now: number): void {
    const tracks = new Map<string, Track>();
    this.#awaited = [];
    for (const pair of pairs) {
      if (!pair.knows || pair.lanes.length === 0) continue;
      const track = this.#track(pair, now);
      tracks.set(pair.node, track);
      const why = this.#why(pair, track, now);
      if (why !== undefined) this.#awaited.push({ node: pair.node, why });
    }
    this.#tracks = tracks;
    this.#looked = true;
  }

  /** The lanes that are to carry what the old key carries now. */
  #next({ lanes, used }: Pair): Pair["lanes"] {
    const key = lanes.find(({ lane }) => lane === used)?.key;
    return lanes.filter((one) => slotHere(one.lane) !== this.#old && one.key === key);
  }

  #track(pair: Pair, now: number): Track {
    const { node, lanes } = pair;
    const bytes = lanes
      .filter(({ lane }) => slotHere(lane) === this.#old)
      .reduce((sum, { state }) => sum + (state?.rxBytes ?? 0), 0);
    const agreed = this.#next(pair).some(({ state }) => state?.lastHandshake !== undefined);
    const before = this.#tracks.get(node);
    return {
      bytes,
      changed: before?.bytes === bytes ? before.changed : now,
      agreed: agreed ? (before?.agreed ?? now) : undefined,
    };
  }

  #why(pair: Pair, { changed, agreed }: Track, now: number): string | undefined {
    if (agreed !== undefined)
      return now - Math.max(agreed, changed) >= QUIET_SECONDS
        ? undefined
        : "there was a handshake with the next key, and packets still come by the old one, or have until a moment ago";
    const away = now - changed >= SILENT_SECONDS;
    if (away && this.seconds(now) >= LIMIT_SECONDS) return undefined;
    const next = this.#next(pair);
    const error = next.find((one) => one.error !== undefined)?.error;
    if (error !== undefined) return `this node has no device for the next key: ${error}`;
    const where = next.map(({ lane, port }) => `${pair.at} port ${port} from ${DEVICES[lane]}`).join(", ");
    return `no handshake with the next key (UDP to ${where}): ${
      away
        ? "nothing comes from there"
        : "the port is blocked, there or on the way back, or the node has not heard of the key"
    }`;
  }
}
