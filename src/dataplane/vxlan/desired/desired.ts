/**
 * Desired state: what the kernel should hold, as a function of who we are and who our peers are.
 *
 * The address at which a node's VXLAN device answers inside the overlay (its VTEP address) is the network address
 * of its first pod CIDR of the family: no pod ever gets it, every node can work out every other's, and no further pool is needed.
 * Only families in which this node has pods itself are programmed: without a VTEP address of our own there
 * would be no source address that a peer could answer to.
 */
import { type Family, familyOf, hostPrefix } from "../../../addr/index.ts";
import { DeltaTracker } from "../../../reconcile/index.ts";
import { type DesiredDevice, type LocalNetwork, type Peer, sameDevice } from "../../../peers/index.ts";
import { keyOf, type OverlayEntry } from "./entries.ts";

/** The alias by which a VXLAN device says to which pod network it belongs. */
export const deviceAlias = (network: string): string => `${DEVICE_ALIAS_PREFIX}${network}`;
/** What the alias of every VXLAN device of Skylane's begins with. */
export const DEVICE_ALIAS_PREFIX = "skylane network ";

/** The network address of a canonical prefix: its text says it, and this is asked for every peer. */
const networkAddress = (cidr: string): string => cidr.slice(0, cidr.indexOf("/"));

const isHostPrefix = (dst: string): boolean => /\/(32|128)$/.test(dst);

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
const ownEntries = ({ podCidrs }: LocalNetwork): OverlayEntry[] =>
  Array.from(vtepAddresses(podCidrs).values(), (ip) => ({ kind: "address", ip }));

/** What one peer needs. */
function peerEntries(local: LocalNetwork, peer: Peer): OverlayEntry[] {
  const { mac, underlayIp: dst, podCidrs, hosts = [], vni, port, direct = [], pathMtu = {} } = peer;
  const entries: OverlayEntry[] = [
    { kind: "fdb", mac, dst, ...differing("vni", vni, local.vni), ...differing("port", port, local.port) },
  ];
  const own = vtepAddresses(local.podCidrs);
  const gateways = vtepAddresses(podCidrs);
  for (const [family, ip] of gateways) if (own.has(family)) entries.push({ kind: "neighbour", ip, mac });
  for (const dst of [...podCidrs, ...hosts.map(hostPrefix)]) {
    const [gateway, prefSrc] = [gateways.get(familyOf(dst)), own.get(familyOf(dst))];
    if (gateway === undefined || prefSrc === undefined) continue;
    // A direct peer keeps its neighbour and FDB entry: it may still send through the tunnel, and the way back is one route.
    const hop = direct.find((one) => familyOf(one.gateway) === familyOf(dst));
    // The kernel takes no gateway on the VXLAN device that its routes look for on another one, as they would for the VTEP
    // inside a direct prefix (net/ipv6/route.c, ip6_route_check_nh_onlink): the VTEP has a route of its own by which the
    // prefix can be put back.
    if (hop && familyOf(dst) === 6) entries.push({ kind: "route", dst: `${gateway}/128`, prefSrc });
    const mtu = pathMtu[familyOf(dst)];
    // What the kernel answers to the peer's own measuring stays as large as that is: it tells whether the way back is whole.
    if (mtu !== undefined && networkAddress(dst) === gateway && !(hop && familyOf(dst) === 6))
      entries.push({
        kind: "route",
        dst: hostPrefix(gateway),
        prefSrc,
        ...(hop && { gateway: hop.gateway, ifindex: hop.ifindex }),
      });
    const way = { dst, prefSrc, ...(mtu !== undefined && { mtu }) };
    if (hop) entries.push({ kind: "route", ...way, gateway: hop.gateway, ifindex: hop.ifindex });
    else entries.push({ kind: "route", ...way, gateway });
  }
  return entries;
}

/** Addresses that move with their pods, as far as they concern this node; what peers have of them is in {@link Peer.hosts}. No address is in two places. */
export interface AddressesHere {
  /** Those of pods here, and the index of each pod's host end. */
  pods: ReadonlyMap<string, number>;
  /** Those that nothing leads to, though a pod here could have them. */
  vacant: ReadonlySet<string>;
}

const NONE_HERE: AddressesHere = { pods: new Map(), vacant: new Set() };

/** What those need. */
const entriesHere = ({ podCidrs }: LocalNetwork, { pods, vacant }: AddressesHere): OverlayEntry[] => {
  const own = vtepAddresses(podCidrs);
  return [
    ...Array.from(pods, ([ip, ifindex]): OverlayEntry => {
      const prefSrc = own.get(familyOf(ip));
      return { kind: "route", dst: hostPrefix(ip), ifindex, ...(prefSrc !== undefined && { prefSrc }) };
    }),
    ...Array.from(vacant, (ip): OverlayEntry => ({ kind: "vacant", dst: hostPrefix(ip) })),
  ];
};

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
export function ownersOf({ local, peers: all, here }: Pick<Desired, "local" | "peers" | "here">): Map<string, string> {
  const owners = new Map(
    [...ownEntries(local), ...entriesHere(local, here)].map((entry) => [keyOf(entry), local.node]),
  );
  const peers = all.values();
  for (const peer of peers) for (const entry of peerEntries(local, peer)) owners.set(keyOf(entry), peer.node);
  return owners;
}

/** The desired state of a network, kept up to date peer by peer. */
export class Desired {
  /** The entries, and what changed of them. */
  readonly tracker: DeltaTracker<OverlayEntry>;
  #local: LocalNetwork;
  #device: DesiredDevice;
  readonly #peers = new Map<string, Peer>();
  /** How many direct hops go through an interface, by its index. */
  readonly #hops = new Map<number, number>();
  #here = NONE_HERE;
  /** Host ends of the pods among them, by index. */
  #ends: ReadonlySet<number> = new Set();

  constructor(local: LocalNetwork, tracker = new DeltaTracker<OverlayEntry>()) {
    this.tracker = tracker;
    this.#local = local;
    this.#device = deviceOf(local);
    this.#put(ownEntries(local));
  }

  get local(): LocalNetwork {
    return this.#local;
  }

  /** Another object when it is wanted otherwise in something. */
  get device(): DesiredDevice {
    return this.#device;
  }

  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  get entries(): ReadonlyMap<string, OverlayEntry> {
    return this.tracker.entries;
  }

  /** Addresses that are here, or could be. */
  get here(): AddressesHere {
    return this.#here;
  }

  /** Whether routes lead to a pod here through an interface. */
  isPodEnd(ifindex: number): boolean {
    return this.#ends.has(ifindex);
  }

  /** Whether what leads to a destination is decided here although it does not lie on the VXLAN device. */
  decides(dst: string): boolean {
    const { pods, vacant } = this.#here;
    if (pods.size + vacant.size === 0 || !isHostPrefix(dst)) return false;
    const ip = networkAddress(dst);
    return pods.has(ip) || vacant.has(ip);
  }

  /** Whether direct routes go through an interface. */
  routesThrough(ifindex: number): boolean {
    return this.#hops.has(ifindex);
  }

  /** Replaces what we are ourselves, which may concern every peer's entries. */
  setLocal(local: LocalNetwork): void {
    const peers = [...this.#peers];
    const here = this.#here;
    this.change(
      peers.map(([node]) => [node, undefined]),
      NONE_HERE,
    );
    this.#drop(ownEntries(this.#local));
    this.#local = local;
    const device = deviceOf(local);
    if (!sameDevice(this.#device, device)) this.#device = device;
    this.#put(ownEntries(local));
    this.change(peers, here);
  }

  /**
   * Takes peers as they are now, by node; undefined for those that left. They must not conflict with each other, nor with what is here.
   * @param here the addresses here, where they are others now: what moves between this node and a peer moves in one go
   */
  change(peers: Iterable<readonly [node: string, peer: Peer | undefined]>, here?: AddressesHere): void {
    const changes = [...peers];
    if (here) this.#drop(entriesHere(this.#local, this.#here));
    // First what goes: what one peer no longer has another one may have now.
    for (const [node] of changes) {
      const former = this.#peers.get(node);
      if (!former) continue;
      this.#drop(peerEntries(this.#local, former));
      this.#countHops(former, -1);
    }
    for (const [node, peer] of changes) {
      if (!peer) {
        this.#peers.delete(node);
        continue;
      }
      this.#peers.set(node, peer);
      this.#put(peerEntries(this.#local, peer));
      this.#countHops(peer, 1);
    }
    if (!here) return;
    this.#here = here;
    this.#ends = new Set(here.pods.values());
    this.#put(entriesHere(this.#local, here));
  }

  #countHops({ direct = [] }: Peer, by: 1 | -1): void {
    for (const { ifindex } of direct) {
      const count = (this.#hops.get(ifindex) ?? 0) + by;
      if (count > 0) this.#hops.set(ifindex, count);
      else this.#hops.delete(ifindex);
    }
  }

  #put(entries: readonly OverlayEntry[]): void {
    for (const entry of entries) this.tracker.put(keyOf(entry), entry);
  }

  #drop(entries: readonly OverlayEntry[]): void {
    for (const entry of entries) this.tracker.put(keyOf(entry), undefined);
  }
}
