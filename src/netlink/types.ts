/**
 * The kernel's network objects in Skylane's words, and the operations on them. These are the currency of
 * the whole code base: plans are lists of operations, dumps are lists of objects, both plain data.
 * Addresses, prefixes and MACs are canonical text (see src/addr); interfaces are named by index where one
 * is known, by name where the object may not exist yet.
 */
import type { Family } from "../addr/index.ts";
import type { BridgeFdbEntry, BridgePort, BridgeSettings } from "./bridge-types.ts";
import type { NetlinkError } from "./errors.ts";

export type { BridgeFdbEntry, BridgePort, BridgeSettings, PortSettings } from "./bridge-types.ts";

/** Route protocol number that marks routes as Skylane's (rtnetlink(7), rtm_protocol; free in iproute2's rt_protos). */
export const ROUTE_PROTOCOL = 83;
/** Group of the host ends of pods (IFLA_GROUP): rules name all of them at once, and they can be deleted as one. */
export const POD_LINK_GROUP = 0x534b;
/**
 * Groups of host ends that are being removed together, a group a request: this number in the upper half, the request's in the
 * lower. A device is in one for the length of that request only.
 */
export const DOOMED_LINK_GROUPS = 0x534c;
/** Whether a device is in a group of pods' host ends. */
export const isPodLinkGroup = (group: number): boolean =>
  group === POD_LINK_GROUP || group >>> 16 === DOOMED_LINK_GROUPS;
/**
 * Group of the overlay devices. Rules compare a number for each packet where they would otherwise copy and compare an
 * interface name, and it stays right when a device is made anew, which its index does not.
 */
export const OVERLAY_LINK_GROUP = 0x534c;

/** Group of both ends of pod networks' uplinks, the pairs by which they reach what is outside. */
export const UPLINK_LINK_GROUP = 0x534d;

/** Group of the devices in which waits what limited pods send. */
export const SHAPER_LINK_GROUP = 0x534e;

/** Group of the WireGuard device that carries what goes between nodes. */
export const ENCRYPTION_LINK_GROUP = 0x534f;

/** What Skylane reads of a VXLAN device (IFLA_INFO_DATA, linux/if_link.h IFLA_VXLAN_*). */
export interface VxlanInfo {
  vni: number;
  port: number;
  local?: string;
  learning: boolean;
  /** Index of the underlay device (IFLA_VXLAN_LINK), if bound to one. */
  link?: number;
  /** A multicast group or default destination; Skylane never sets one. */
  group?: string;
}

/** All kernel parameters (net.ipv4.conf, net.ipv6.conf) of a device, to be compared and not to be read: which number is which depends on the kernel. */
export interface DeviceParameters {
  index: number;
  /** By family; empty where the device has none of it. */
  4: string;
  6: string;
}

/** A network device. */
export interface Link {
  index: number;
  name: string;
  /** IFLA_INFO_KIND: "vxlan", "veth", "bridge" …; absent for physical devices and loopback. */
  kind?: string;
  mac?: string;
  mtu: number;
  /** Administratively up (IFF_UP). */
  up: boolean;
  /** IFF_LOWER_UP: the carrier is there. */
  lowerUp: boolean;
  loopback: boolean;
  /** IFF_NOARP is set, or IFF_MULTICAST is not: neighbours are not found by asking. */
  noArp?: true;
  noMulticast?: true;
  alias?: string;
  group: number;
  /** Index of the bridge or VRF that it is a port of. */
  master?: number;
  /** IFLA_LINK: the other end of a veth pair or the device below. */
  peerIndex?: number;
  /** IFLA_LINK_NETNSID: present when the peer is in another namespace. */
  peerNetnsId?: number;
  txQueueLen?: number;
  /** How it makes IPv6 link-local addresses; "other" stands for stable-privacy and random. */
  addrGenMode?: "eui64" | "none" | "other";
  vxlan?: VxlanInfo;
  /** Its settings, where it is a bridge. */
  bridge?: BridgeSettings;
  /** Its settings as a port, where its master is a bridge. */
  port?: BridgePort;
}

/** An address on a device. */
export interface Address {
  ifindex: number;
  ip: string;
  prefix: number;
  /** rtnetlink scope: 0 global, 253 link, 254 host. */
  scope?: number;
  /** IFA_F_NODAD: no duplicate address detection (IPv6). */
  nodad?: boolean;
  /** IFA_F_NOPREFIXROUTE. */
  noPrefixRoute?: boolean;
  /** Never chosen as the source of what the host sends by itself (IFA_F_DEPRECATED: a preferred lifetime of 0). */
  deprecated?: boolean;
  /** Dump only: IFA_F_TENTATIVE, IFA_F_DADFAILED. */
  tentative?: boolean;
  dadFailed?: boolean;
  /** Dump only: IFA_F_PERMANENT; addresses from router advertisements or DHCP are not. */
  permanent?: boolean;
}

/** A unicast route (or blackhole/unreachable/prohibit/throw, see `type`). */
export interface Route {
  family: Family;
  /** Canonical prefix, or "default". */
  dst: string;
  gateway?: string;
  /** Output device; absent in blackhole routes. */
  ifindex?: number;
  /** RTNH_F_ONLINK: the gateway is on the link although no route says so. */
  onlink?: boolean;
  /** Preferred source address (RTA_PREFSRC). */
  prefSrc?: string;
  /** Routing table, 254 (main) by default. */
  table?: number;
  /** rtm_protocol, {@link ROUTE_PROTOCOL} by default when added. */
  protocol?: number;
  /** 0 universe (default with a gateway), 253 link (default without). */
  scope?: number;
  /** rtm_type, 1 unicast by default; 2 local, 6 blackhole, 7 unreachable. */
  type?: number;
  /** RTA_PRIORITY. The kernel turns 0 into 1024 for IPv6. */
  metric?: number;
  mtu?: number;
  /** Dump only: more than one next hop (RTA_MULTIPATH). */
  multipath?: boolean;
  /** Devices of more than one next hop, in order, instead of `ifindex`; IPv4 alone takes those without gateways. */
  hops?: readonly number[];
}

/** A neighbour (ARP or ND) entry. */
export interface Neighbour {
  ifindex: number;
  ip: string;
  mac?: string;
  /** NUD_* bits; 0x80 (permanent) by default when added. */
  state?: number;
  /** NTF_EXT_LEARNED: somebody else than the kernel looks after it, which never takes it away to make room (since Linux 5.0). */
  external?: boolean;
}

/**
 * An FDB entry of a VXLAN device (family AF_BRIDGE, NTF_SELF). Its deletion with another `dst` than it has succeeds and
 * changes nothing, which is the kernel's doing.
 */
export interface FdbEntry {
  ifindex: number;
  mac: string;
  /** The remote VTEP's underlay address (NDA_DST). */
  dst: string;
  /** NUD_* bits, permanent (0x80) by default. */
  state?: number;
  /** Remote port and VNI when they differ from the device's. */
  port?: number;
  vni?: number;
}

/** A policy routing rule. */
export interface Rule {
  family: Family;
  priority: number;
  table: number;
  /** Canonical prefixes. */
  src?: string;
  dst?: string;
  iifname?: string;
  oifname?: string;
  fwmark?: number;
  fwmask?: number;
  protocol?: number;
  /** FRA_SUPPRESS_PREFIXLEN: routes of the table with this prefix length or a shorter one do not count. */
  suppressPrefixLength?: number;
  /** FRA_IP_PROTO: packets of this protocol alone, 17 for UDP (since Linux 4.17, as is the port). */
  ipProto?: number;
  /** FRA_SPORT_RANGE, FRA_DPORT_RANGE: packets from or to this port alone. Skylane never has a range; of one that somebody else has, this is the first port. */
  sport?: number;
  dport?: number;
  /** FR_ACT_*, 1 (look up the table) where absent; the table is 0 in rules that have none. */
  action?: number;
  /** Matches everything but what is given (FIB_RULE_INVERT). */
  invert?: boolean;
}

/** What a token bucket filter lets pass. Lengths of frames count with their Ethernet header, as the kernel counts them. */
export interface TokenBucket {
  /** In bytes a second. */
  rate: number;
  /** What may pass at once after a pause, in bytes. */
  burst: number;
  /** What may wait, in bytes; more is dropped. */
  limit: number;
}

/** A queueing discipline of a device. */
export interface Qdisc {
  ifindex: number;
  /** "noqueue", "fq_codel", "tbf", "ingress", "clsact" … */
  kind: string;
  /** Its own number, the major part in the upper half; 0 of those that the kernel makes by itself. */
  handle: number;
  /** Whether it is where a device's packets leave (`root`), or where they come in (`ingress`). */
  at: "root" | "ingress" | "class";
  /** Of kind "tbf". The burst is rounded, as the kernel keeps it as a time. */
  bucket?: TokenBucket;
}

/** What to put in place, or to take away: a token bucket filter for all that leaves by a device, or what filters of received packets hang on. */
export type QdiscSpec =
  | { ifindex: number; kind: "tbf"; handle: number; bucket: TokenBucket }
  | { ifindex: number; kind: "ingress" | "clsact" };

/** A filter of what a device receives, or sends. */
export interface Filter {
  ifindex: number;
  /** Of several the one with the lowest number comes first. */
  priority: number;
  /** The classifier: "bpf", "u32" … */
  kind: string;
  /** The device to which it hands every packet: as {@link RedirectFilter} does. */
  redirectsTo?: number;
  /** The eBPF program that it is, by the name that it was put in place with and the kernel's number. */
  program?: { name: string; id: number };
}

/** What filters see of a device: what it receives, or what it sends (with a queueing discipline of kind "clsact" alone). */
export type FilterSide = "receives" | "sends";

/** An eBPF program as a filter, which says itself what becomes of each packet (classifier `bpf`, direct action). */
export interface ProgramFilter {
  ifindex: number;
  priority: number;
  side: FilterSide;
  /** Its descriptor, of no account when the filter is taken away. */
  program: { name: string; fd: number };
}

/** Hands everything that a device receives to another one, as if it left by that (classifier `bpf`, action `mirred`). */
export interface RedirectFilter {
  ifindex: number;
  priority: number;
  redirectsTo: number;
}

/** What to create: a VXLAN device. Always `nolearning` unless said otherwise, never with a group. */
export interface VxlanSpec {
  kind: "vxlan";
  name: string;
  vni: number;
  port: number;
  local?: string;
  mac?: string;
  mtu?: number;
  learning?: boolean;
  group?: number;
  alias?: string;
  /** Index of the underlay device to bind to. */
  link?: number;
  /** IFLA_INET6_ADDR_GEN_MODE: "none" makes no link-local address. */
  addrGenMode?: "eui64" | "none";
  /**
   * File descriptor of the namespace to make the device in (IFLA_NET_NS_FD); the socket's own by default. What it
   * encapsulates leaves by the socket's namespace all the same, and is received there.
   */
  netnsFd?: number;
}

/** What to create: a veth pair, its peer possibly in another namespace. */
export interface VethSpec {
  kind: "veth";
  name: string;
  /**
   * Queues of each end. By default the kernel makes one a processor that the machine could have and uses the first; what it
   * has not made it cannot use later either.
   */
  queues?: number;
  mac?: string;
  mtu?: number;
  group?: number;
  alias?: string;
  txQueueLen?: number;
  addrGenMode?: "eui64" | "none";
  peer: {
    name: string;
    mac?: string;
    mtu?: number;
    group?: number;
    alias?: string;
    txQueueLen?: number;
    addrGenMode?: "eui64" | "none";
    /** File descriptor of the namespace to make the peer in (IFLA_NET_NS_FD); the socket's own by default. */
    netnsFd?: number;
  };
}

/** What to create: a bridge. */
export interface BridgeSpec {
  kind: "bridge";
  name: string;
  mac?: string;
  mtu?: number;
  group?: number;
  alias?: string;
  addrGenMode?: "eui64" | "none";
  settings?: Partial<BridgeSettings>;
}

/** What to create: an intermediate functional block, which queues what another device has received and gives it back. */
export interface IfbSpec {
  kind: "ifb";
  name: string;
  mtu?: number;
  group?: number;
  alias?: string;
  addrGenMode?: "eui64" | "none";
}

/** What to create: a WireGuard device; keys and peers are told it by generic netlink (generic/wireguard.ts). */
export interface WireguardSpec {
  kind: "wireguard";
  name: string;
  mtu?: number;
  group?: number;
  alias?: string;
  addrGenMode?: "eui64" | "none";
}

export type LinkSpec = VxlanSpec | VethSpec | BridgeSpec | IfbSpec | WireguardSpec;

/** What to change of an existing device; absent keys stay as they are. */
export interface LinkChange {
  index: number;
  name?: string;
  up?: boolean;
  /** Neighbours are found by asking again. */
  arp?: true;
  multicast?: true;
  mtu?: number;
  mac?: string;
  alias?: string;
  group?: number;
  /** 0 takes it out of its bridge. */
  master?: number;
  netnsFd?: number;
  addrGenMode?: "eui64" | "none";
  /** Settings of a bridge. */
  bridge?: Partial<BridgeSettings>;
  /** Settings as a port; it must be one already, so a change of its master is an operation before this one. */
  port?: Partial<BridgePort>;
}

/**
 * One change of the kernel. `add` fails with EEXIST where the object is there, `replace` creates or
 * overwrites it, `del` fails with the kernel's own error where it is not. The verbs of one object have the
 * same shape, so that a plan can be printed, compared and undone.
 *
 * `replace` of a route overwrites whatever has the same prefix, table and metric, also a route of somebody else's
 * protocol; `add` is the verb that leaves those alone (EEXIST).
 *
 * `append` makes one more destination of an address that may have several: the all-zero one of a VXLAN device.
 */
export type Operation =
  | { op: "add"; kind: "link"; link: LinkSpec }
  | { op: "set"; kind: "link"; link: LinkChange }
  | { op: "del"; kind: "link"; link: { index: number; name?: string } }
  | { op: "add" | "replace" | "del"; kind: "address"; address: Address }
  | { op: "add" | "replace" | "del"; kind: "route"; route: Route }
  | { op: "add" | "replace" | "del"; kind: "neighbour"; neighbour: Neighbour }
  | { op: "add" | "replace" | "append" | "del"; kind: "fdb"; fdb: FdbEntry }
  | { op: "add" | "replace" | "del"; kind: "bridgeFdb"; bridgeFdb: BridgeFdbEntry }
  | { op: "add" | "del"; kind: "rule"; rule: Rule }
  | { op: "add" | "replace" | "del"; kind: "qdisc"; qdisc: QdiscSpec }
  | { op: "add" | "replace" | "del"; kind: "filter"; filter: RedirectFilter | ProgramFilter };

/** A notification from the kernel: what is now (`new`) or is no longer (`del`). */
export type NetlinkEvent =
  | { event: "new" | "del"; kind: "link"; link: Link }
  | { event: "new" | "del"; kind: "address"; address: Address }
  | { event: "new" | "del"; kind: "route"; route: Route }
  | { event: "new" | "del"; kind: "neighbour"; neighbour: Neighbour }
  | { event: "new" | "del"; kind: "fdb"; fdb: FdbEntry }
  | { event: "new" | "del"; kind: "bridgeFdb"; bridgeFdb: BridgeFdbEntry }
  | { event: "new" | "del"; kind: "rule"; rule: Rule }
  /** Kernel parameters of a device have changed, those that the kernel announces (forwarding, rp_filter …); -1 for all devices, -2 for new ones. */
  | { event: "new"; kind: "netconf"; netconf: { family: Family; ifindex: number } }
  /** Something of a device's traffic control: a queueing discipline, a filter, or what hangs on them. */
  | { event: "new" | "del"; kind: "tc"; tc: { ifindex: number } }
  | { event: "new" | "del"; kind: "bridgePort"; bridgePort: { ifindex: number; master?: number; port?: BridgePort } };

/** An operation of a batch that the kernel refused. */
export interface OperationFailure {
  /** Its place in the list that was given. */
  index: number;
  operation: Operation;
  error: NetlinkError;
}
