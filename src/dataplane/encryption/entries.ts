/**
 * What encryption takes of the kernel, as plain data. VXLAN stays as it is: a rule has the kernel look up packets to its port in a table of ours,
 * which leads those to nodes with a key into a WireGuard device (drivers/net/vxlan, vxlan_get_route: the look-up knows protocol and port since
 * Linux 4.x, so a rule can tell them). WireGuard's own packets go to other ports and by the main table.
 *
 * Of a node with a key there are:
 * - for each lane to it (lanes.ts) the peer of the lane's device, which may send from its underlay address alone;
 * - a route to that address into the device of the best lane;
 * - behind it the same route to nowhere: when the device goes its routes go with it, and what would have been encrypted must not leave by the main table;
 * - where there is more than one lane, the way back: a route with all of them for next hops, in a table where the reverse-path filter alone looks. The
 *   devices have no address, and by one without the kernel lets in only what it would answer by it (net/ipv4/fib_frontend.c, __fib_validate_source, which
 *   takes each of the next hops). IPv6 has no such filter.
 *
 * With `strict` everything else to the port leads nowhere.
 */
import { type Family, familyOf, hostPrefix } from "../../addr/index.ts";
import type { Route, Rule, WireguardPeerState } from "../../netlink/index.ts";
import type { LocalNetwork, Peer } from "../../peers/index.ts";
import { type DeltaTracker, entryKey } from "../../reconcile/index.ts";
import { bestLane, DEVICES, type Lane, laneOf, lanesOf, type OwnKeys, type PeerLane } from "./lanes.ts";

/** Routing table of what is encrypted, and the place of the rules that lead there: before those that people make, and VRFs' (1000). */
export const ENCRYPTION_TABLE = 51_871;
export const RULE_PRIORITY = 830;
/** The table of the way back of nodes with more than one lane, which is looked at before. */
export const BACK_TABLE = 51_872;
export const BACK_PRIORITY = 829;

/** An entry as desired. */
export type EncryptionEntry =
  | { kind: "peer"; lane: Lane; publicKey: string; ip: string; port: number }
  /** `lanes`: a bit for each. */
  | { kind: "back"; dst: string; lanes: number }
  /** `nowhere`: to where nothing leads, but if there is no other route. */
  | { kind: "route"; dst: string; nowhere: false; lane: Lane }
  | { kind: "route"; dst: string; nowhere: true }
  /**
   * `to`: a peer's own, where it has VXLAN at another port than this node. `back`: for the way back of what comes out of a device, by which the kernel
   * judges where it came from; a device has no address, so no reverse-path filter but none would let it in otherwise. `many`: of nodes with more than
   * one lane.
   */
  | { kind: "rule"; port: number; to: string; back: boolean; many: boolean };

/** Something that is there. */
export type EncryptionActual =
  | { kind: "peer"; lane: Lane; peer: WireguardPeerState }
  | { kind: "back"; route: Route }
  | { kind: "route"; route: Route }
  | { kind: "rule"; rule: Rule };

/** What this node is itself. */
export type LocalPart = Pick<LocalNetwork, "underlayIp" | "port" | "encryption">;

/** Whether there was a handshake on a lane. */
export type Agreed = (lane: PeerLane) => boolean;

export const routeKey = (dst: string, nowhere: boolean): string =>
  entryKey("route", `${dst}${nowhere ? " nowhere" : ""}`);
export const peerKey = (lane: Lane, publicKey: string): string => entryKey("peer", `${DEVICES[lane]} ${publicKey}`);

/** The key of an entry, or of the one that has the place of what is there. */
export function keyOfEntry(entry: EncryptionEntry): string {
  switch (entry.kind) {
    case "peer":
      return peerKey(entry.lane, entry.publicKey);
    case "route":
      return routeKey(entry.dst, entry.nowhere);
    case "back":
      return entryKey("back", entry.dst);
    default: {
      const { port, to, back, many } = entry;
      return entryKey("rule", `${port}${to === "" ? "" : ` to ${to}`}${back ? " back" : ""}${many ? " many" : ""}`);
    }
  }
}

/** What there is whoever the peers are. */
export const entriesOfLocal = ({ port, encryption }: LocalPart): EncryptionEntry[] => [
  { kind: "rule", port, to: "", back: false, many: false },
  { kind: "rule", port, to: "", back: true, many: false },
  { kind: "rule", port, to: "", back: true, many: true },
  ...(encryption === "strict" ? [{ kind: "route", dst: "default", nowhere: true } as const] : []),
];

/**
 * What a peer adds; nothing where it has no key, or this node's own.
 * @param used the lane to send by: the first one by default
 */
export function entriesOfPeer(
  local: LocalPart,
  { underlayIp, wireguard, port = local.port }: Peer,
  own: OwnKeys,
  used?: Lane,
): EncryptionEntry[] {
  const to = hostPrefix(underlayIp);
  // Where nothing may leave in the clear, that of a node without a key is led nowhere, at whatever port it is.
  const rule: EncryptionEntry[] = port === local.port ? [] : [{ kind: "rule", port, to, back: false, many: false }];
  const lanes = wireguard ? lanesOf(own, wireguard) : [];
  const first = lanes[0]?.lane;
  if (first === undefined) return local.encryption === "strict" ? rule : [];
  const isMany = lanes.length > 1 && familyOf(underlayIp) === 4;
  return [
    ...lanes.map(
      ({ lane, key, port: its }): EncryptionEntry => ({
        kind: "peer",
        lane,
        publicKey: key,
        ip: underlayIp,
        port: its,
      }),
    ),
    ...(isMany
      ? [{ kind: "back", dst: to, lanes: lanes.reduce((sum, { lane }) => sum | (1 << lane), 0) } as const]
      : []),
    { kind: "route", dst: to, nowhere: false, lane: used ?? first },
    { kind: "route", dst: to, nowhere: true },
    ...rule,
  ];
}

/** Keeps the entries in a tracker as this node and its peers change, and as lanes come up. */
export class DesiredEncryption {
  readonly #tracker: DeltaTracker<EncryptionEntry>;
  readonly #peers = new Map<string, Peer>();
  readonly #agreed: Agreed;
  /** Of peers with more than one lane, the one to send by. */
  readonly #used = new Map<string, Lane>();
  /** How many peers have each lane. */
  readonly #counts = new Map<Lane, number>();
  #own: OwnKeys;
  #local: LocalPart;

  constructor(local: LocalPart, own: OwnKeys, tracker: DeltaTracker<EncryptionEntry>, agreed: Agreed = () => false) {
    this.#tracker = tracker;
    this.#local = local;
    this.#own = own;
    this.#agreed = agreed;
    this.#put(entriesOfLocal(local));
  }

  /** Peers by node. */
  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** Of the underlay, and so of all rules and routes. */
  get family(): Family {
    return familyOf(this.#local.underlayIp);
  }

  /** The lanes that somebody uses, and the one by which nodes come that know one key alone. */
  get lanes(): Lane[] {
    return [...new Set([laneOf(this.#own.slot, 0), ...this.#counts.keys()])].sort((a, b) => a - b);
  }

  /** The lanes to a peer, better ones behind, and which is used. */
  lanesTo(peer: Peer): { lanes: PeerLane[]; used: Lane | undefined } {
    const lanes = peer.wireguard ? lanesOf(this.#own, peer.wireguard) : [];
    return { lanes, used: this.#used.get(peer.node) ?? lanes[0]?.lane };
  }

  /** Peers with more than one lane. */
  *many(): Generator<Peer> {
    for (const node of this.#used.keys()) {
      const peer = this.#peers.get(node);
      if (peer) yield peer;
    }
  }

  /** This node is otherwise, or has other keys. */
  setLocal(local: LocalPart, own: OwnKeys): void {
    const former = this.#all();
    for (const peer of this.#peers.values()) this.#count(peer, -1);
    this.#local = local;
    this.#own = own;
    for (const peer of this.#peers.values()) {
      this.#count(peer, 1);
      this.#choose(peer);
    }
    this.#replace(former, this.#all());
  }

  /** Takes peers as they are now, by node; undefined for those that left. */
  change(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    const former: EncryptionEntry[] = [];
    const now: EncryptionEntry[] = [];
    for (const [node, peer] of changes) {
      const before = this.#peers.get(node);
      if (before) {
        former.push(...this.#of(before));
        this.#count(before, -1);
      }
      if (peer) {
        this.#peers.set(node, peer);
        this.#count(peer, 1);
        this.#choose(peer);
        now.push(...this.#of(peer));
      } else {
        this.#peers.delete(node);
        this.#used.delete(node);
      }
    }
    this.#replace(former, now);
  }

  /** Lanes may have come up: sends by the best ones. @returns whether something is otherwise */
  look(): boolean {
    let changed = false;
    for (const peer of this.many()) {
      const former = this.#of(peer);
      if (!this.#choose(peer)) continue;
      this.#replace(former, this.#of(peer));
      changed = true;
    }
    return changed;
  }

  #choose(peer: Peer): boolean {
    const { node, wireguard } = peer;
    const lanes = wireguard ? lanesOf(this.#own, wireguard) : [];
    const before = this.#used.get(node);
    const best = lanes.length > 1 ? bestLane(lanes, this.#agreed, before)?.lane : undefined;
    if (best === undefined) this.#used.delete(node);
    else this.#used.set(node, best);
    return best !== before;
  }

  #count(peer: Peer, by: number): void {
    for (const { lane } of this.lanesTo(peer).lanes) {
      const count = (this.#counts.get(lane) ?? 0) + by;
      if (count > 0) this.#counts.set(lane, count);
      else this.#counts.delete(lane);
    }
  }

  #of(peer: Peer): EncryptionEntry[] {
    return entriesOfPeer(this.#local, peer, this.#own, this.#used.get(peer.node));
  }

  #all(): EncryptionEntry[] {
    return [...entriesOfLocal(this.#local), ...[...this.#peers.values()].flatMap((peer) => this.#of(peer))];
  }

  #put(entries: readonly EncryptionEntry[]): void {
    for (const entry of entries) this.#tracker.put(keyOfEntry(entry), entry);
  }

  /** Of a key or an address that moves from one peer to another, what comes counts. */
  #replace(former: readonly EncryptionEntry[], now: readonly EncryptionEntry[]): void {
    const stay = new Set(now.map(keyOfEntry));
    for (const entry of former) {
      const key = keyOfEntry(entry);
      if (!stay.has(key)) this.#tracker.put(key, undefined);
    }
    this.#put(now);
  }
}
