/**
 * What encryption takes of the kernel, as plain data. VXLAN stays as it is: a rule has the kernel look up packets to its port in a table of ours,
 * which leads those to nodes with a key into the WireGuard device (drivers/net/vxlan, vxlan_get_route: the look-up knows protocol and port since
 * Linux 4.x, so a rule can tell them). WireGuard's own packets go to another port and by the main table.
 *
 * Of a node with a key there are:
 * - the peer of the device, which may send from its underlay address alone;
 * - a route to that address into the device;
 * - behind it the same route to nowhere: when the device goes its routes go with it, and what would have been encrypted must not leave by the main table.
 *
 * With `strict` everything else to the port leads nowhere.
 */
import { type Family, familyOf, hostPrefix } from "../../addr/index.ts";
import type { Route, Rule, WireguardPeerState } from "../../netlink/index.ts";
import type { LocalNetwork, Peer } from "../../peers/index.ts";
import { type DeltaTracker, entryKey } from "../../reconcile/index.ts";

/** Routing table of what is encrypted, and the place of the rules that lead there: before those that people make, and VRFs' (1000). */
export const ENCRYPTION_TABLE = 51_871;
export const RULE_PRIORITY = 830;

/** An entry as desired. */
export type EncryptionEntry =
  | { kind: "peer"; publicKey: string; ip: string; port: number }
  /** `nowhere`: to where nothing leads, but if there is no other route. */
  | { kind: "route"; dst: string; nowhere: boolean }
  /**
   * `to`: a peer's own, where it has VXLAN at another port than this node. `back`: for the way back of what comes out of the device, by which the kernel
   * judges where it came from; the device has no address, so no reverse-path filter but none would let it in otherwise.
   */
  | { kind: "rule"; port: number; to: string; back: boolean };

/** Something that is there. */
export type EncryptionActual =
  | { kind: "peer"; peer: WireguardPeerState }
  | { kind: "route"; route: Route }
  | { kind: "rule"; rule: Rule };

/** What this node is itself. */
export type LocalPart = Pick<LocalNetwork, "underlayIp" | "port" | "encryption">;

const routeKey = (dst: string, nowhere: boolean): string => entryKey("route", `${dst}${nowhere ? " nowhere" : ""}`);

/** The key of an entry, or of the one that has the place of what is there. */
export function keyOfEntry(entry: EncryptionEntry): string {
  switch (entry.kind) {
    case "peer":
      return entryKey("peer", entry.publicKey);
    case "route":
      return routeKey(entry.dst, entry.nowhere);
    default:
      return entryKey("rule", `${entry.port}${entry.to === "" ? "" : ` to ${entry.to}`}${entry.back ? " back" : ""}`);
  }
}

/** What there is whoever the peers are. */
export const entriesOfLocal = ({ port, encryption }: LocalPart): EncryptionEntry[] => [
  { kind: "rule", port, to: "", back: false },
  { kind: "rule", port, to: "", back: true },
  ...(encryption === "strict" ? [{ kind: "route", dst: "default", nowhere: true } as const] : []),
];

/** What a peer adds; nothing where it has no key, or this node's own. */
export function entriesOfPeer(
  local: LocalPart,
  { underlayIp, wireguard, port = local.port }: Peer,
  ownKey: string,
): EncryptionEntry[] {
  const to = hostPrefix(underlayIp);
  // Where nothing may leave in the clear, that of a node without a key is led nowhere, at whatever port it is.
  const rule: EncryptionEntry[] = port === local.port ? [] : [{ kind: "rule", port, to, back: false }];
  if (!wireguard || wireguard.key === ownKey) return local.encryption === "strict" ? rule : [];
  return [
    { kind: "peer", publicKey: wireguard.key, ip: underlayIp, port: wireguard.port },
    { kind: "route", dst: to, nowhere: false },
    { kind: "route", dst: to, nowhere: true },
    ...rule,
  ];
}

/** Keeps the entries in a tracker as this node and its peers change. */
export class DesiredEncryption {
  readonly #tracker: DeltaTracker<EncryptionEntry>;
  readonly #peers = new Map<string, Peer>();
  #ownKey: string;
  #local: LocalPart;

  constructor(local: LocalPart, ownKey: string, tracker: DeltaTracker<EncryptionEntry>) {
    this.#tracker = tracker;
    this.#local = local;
    this.#ownKey = ownKey;
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

  /** This node is otherwise, or has another key. */
  setLocal(local: LocalPart, ownKey: string): void {
    const former = this.#all();
    this.#local = local;
    this.#ownKey = ownKey;
    this.#replace(former, this.#all());
  }

  /** Takes peers as they are now, by node; undefined for those that left. */
  change(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    const former: EncryptionEntry[] = [];
    const now: EncryptionEntry[] = [];
    for (const [node, peer] of changes) {
      const before = this.#peers.get(node);
      if (before) former.push(...this.#of(before));
      if (peer) {
        this.#peers.set(node, peer);
        now.push(...this.#of(peer));
      } else this.#peers.delete(node);
    }
    this.#replace(former, now);
  }

  #of(peer: Peer): EncryptionEntry[] {
    return entriesOfPeer(this.#local, peer, this.#ownKey);
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
