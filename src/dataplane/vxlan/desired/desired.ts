/**
 * Desired state: what the kernel should hold, as a function of who we are and who our peers are.
 *
 * The address at which a node's VXLAN device answers inside the overlay (its VTEP address) is the network address
 * of its first pod CIDR of the family: no pod ever gets it, every node can work out every other's, and no further pool is needed.
 * Only families in which this node has pods itself are programmed: without a VTEP address of our own there
 * would be no source address that a peer could answer to.
 */
import { type Family, familyOf, hostPrefix } from "../../../addr/index.ts";
import { entryOf, mapsOf, sameEntry } from "./entries.ts";
import { type Changed, DeltaTracker } from "../../../reconcile/index.ts";
import {
  type DesiredDevice,
  type DesiredEntry,
  type DesiredState,
  type EntryKind,
  entryKey,
  type LocalNetwork,
  type Peer,
} from "../../../peers/index.ts";

/** The alias by which a VXLAN device says to which pod network it belongs. */
export const deviceAlias = (network: string): string => `${DEVICE_ALIAS_PREFIX}${network}`;
/** What the alias of every VXLAN device of Skylane's begins with. */
export const DEVICE_ALIAS_PREFIX = "skylane network ";

/** An entry and its place. */
type Placed = readonly [kind: EntryKind, id: string, entry: DesiredEntry];

/** The network address of a canonical prefix: its text says it, and this is asked for every peer. */
const networkAddress = (cidr: string): string => cidr.slice(0, cidr.indexOf("/"));

/** A node's VTEP address of each family in which it has pods. */
function vtepAddresses(podCidrs: readonly string[]): Map<Family, string> {
  const addresses = new Map<Family, string>();
  for (const cidr of podCidrs) {
    const family = familyOf(cidr);
    if (!addresses.has(family)) addresses.set(family, networkAddress(cidr));
  }
  return addresses;
}

/** Our own VTEP addresses. */
const ownEntries = ({ podCidrs }: LocalNetwork): Placed[] =>
  Array.from(vtepAddresses(podCidrs).values(), (ip) => ["address", ip, { ip }]);

/** What one peer needs. */
function peerEntries(local: LocalNetwork, peer: Peer): Placed[] {
  const { mac, underlayIp, podCidrs, hosts = [], vni, port, direct = [] } = peer;
  const fdb = { mac, dst: underlayIp, ...differing("vni", vni, local.vni), ...differing("port", port, local.port) };
  const entries: Placed[] = [["fdb", mac, fdb]];
  const own = vtepAddresses(local.podCidrs);
  const gateways = vtepAddresses(podCidrs);
  for (const [family, ip] of gateways) if (own.has(family)) entries.push(["neighbour", ip, { ip, mac }]);
  for (const dst of [...podCidrs, ...hosts.map(hostPrefix)]) {
    const [gateway, prefSrc] = [gateways.get(familyOf(dst)), own.get(familyOf(dst))];
    if (gateway === undefined || prefSrc === undefined) continue;
    // A direct peer keeps its neighbour and FDB entry: it may still send through the tunnel, and the way back is one route.
    const hop = direct.find((one) => familyOf(one.gateway) === familyOf(dst));
    // The kernel takes no gateway on the VXLAN device that its routes look for on another one, as they would for the VTEP
    // inside a direct prefix (net/ipv6/route.c, ip6_route_check_nh_onlink): the VTEP has a route of its own by which the
    // prefix can be put back.
    const host = `${gateway}/128`;
    if (hop && familyOf(dst) === 6) entries.push(["route", host, { dst: host, prefSrc }]);
    entries.push(["route", dst, { dst, ...(hop ?? { gateway }), prefSrc }]);
  }
  return entries;
}

/** Says a VNI or port only where it differs from one's own. */
export function differing<K extends "vni" | "port">(
  key: K,
  value: number | undefined,
  own: number,
): { [key in K]?: number } {
  return value === undefined || value === own ? {} : ({ [key]: value } as { [key in K]?: number });
}

/** The VXLAN device that a network is to have. */
export function deviceOf(
  local: Pick<LocalNetwork, "device" | "vni" | "port" | "mac" | "mtu" | "underlayIp" | "network" | "txChecksum">,
): DesiredDevice {
  const { device: name, vni, port, mac, mtu, underlayIp, network, txChecksum } = local;
  const alias = deviceAlias(network);
  return { name, vni, port, local: underlayIp, mac, mtu, alias, txChecksum: txChecksum ?? "auto" };
}

/** Which node every entry is for, by key. */
export function ownersOf(local: LocalNetwork, peers: Iterable<Peer>): Map<string, string> {
  const owners = new Map(ownEntries(local).map(([kind, id]) => [entryKey(kind, id), local.node]));
  for (const peer of peers) {
    for (const [kind, id] of peerEntries(local, peer)) owners.set(entryKey(kind, id), peer.node);
  }
  return owners;
}

/** Entries by key as they were before they changed; undefined for those that were not wanted. */
export type ChangedEntries = Changed<DesiredEntry>;

/**
 * The desired state of a network, kept up to date peer by peer, and what changed of it since the kernel was last made
 * right: so a change among thousands of peers is planned from its own few entries.
 */
export class Desired {
  readonly state: DesiredState;
  #local: LocalNetwork;
  readonly #peers = new Map<string, Peer>();
  readonly #ledger = new DeltaTracker<DesiredEntry>((key) => entryOf(this.state, key), sameEntry);

  constructor(local: LocalNetwork) {
    this.#local = local;
    this.state = {
      device: deviceOf(local),
      addresses: new Map(),
      fdb: new Map(),
      neighbours: new Map(),
      routes: new Map(),
    };
    for (const placed of ownEntries(local)) this.#put(placed);
  }

  get local(): LocalNetwork {
    return this.#local;
  }

  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** Replaces what we are ourselves, which may concern every peer's entries. */
  setLocal(local: LocalNetwork): void {
    const peers = [...this.#peers];
    this.change(peers.map(([node]) => [node, undefined]));
    for (const placed of ownEntries(this.#local)) this.#drop(placed);
    this.#local = local;
    this.state.device = deviceOf(local);
    for (const placed of ownEntries(local)) this.#put(placed);
    this.change(peers);
  }

  /** Takes peers as they are now, by node; undefined for those that left. They must not conflict with each other. */
  change(peers: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    const changes = [...peers];
    // First what goes: what one peer no longer has another one may have now.
    for (const [node] of changes) {
      const former = this.#peers.get(node);
      if (former) for (const placed of peerEntries(this.#local, former)) this.#drop(placed);
    }
    for (const [node, peer] of changes) {
      if (peer) this.#peers.set(node, peer);
      else this.#peers.delete(node);
      if (peer) for (const placed of peerEntries(this.#local, peer)) this.#put(placed);
    }
  }

  /** Entries that are otherwise now than when {@link begin} was called last. */
  get changed(): ChangedEntries {
    return this.#ledger.changed;
  }

  /** Entries of which the kernel is not known to be right. */
  unsettled(): Iterable<string> {
    return this.#ledger.unsettled();
  }

  /** Hands over what changed, for the kernel to be made right; {@link settle} or {@link putBack} must follow. */
  begin(): ChangedEntries {
    return this.#ledger.begin();
  }

  /** What was begun is done. */
  settle(): void {
    this.#ledger.settle();
  }

  /** What was begun was not done: it has still changed. */
  putBack(): void {
    this.#ledger.putBack();
  }

  #put([kind, id, entry]: Placed): void {
    this.#touch(kind, id);
    mapsOf(this.state)[kind].set(id, entry);
  }

  #drop([kind, id]: Placed): void {
    this.#touch(kind, id);
    mapsOf(this.state)[kind].delete(id);
  }

  #touch(kind: EntryKind, id: string): void {
    this.#ledger.touch(entryKey(kind, id));
  }
}

/** The desired state of a network with these peers. Peers must not conflict with each other (see selectPeers). */
export function desiredState(local: LocalNetwork, peers: readonly Peer[]): DesiredState {
  const desired = new Desired(local);
  desired.change(peers.map((peer) => [peer.node, peer]));
  return desired.state;
}
