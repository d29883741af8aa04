/**
 * The table `inet skylane` as text, from plain data: one table for all pod networks of the node, always whole, so that
 * it can be put in place in one transaction. What it does:
 *
 * - prerouting, raw: a packet from a pod must come from an address whose route leads back to that very pod (one static
 *   rule for all pods, which needs nothing at ADD); a packet out of the overlay must not claim to be from a pod here, nor one
 *   that comes over an underlay interface on which pods' packets are taken unencapsulated. (A peer's pod may have a single address
 *   out of our prefix, if the route to it says so.)
 * - input: VXLAN packets with a VNI of ours count only from the underlay address of a known peer, and with a source inside that is
 *   this very peer's (inner-source.ts). Other VNIs on the same
 *   port are somebody else's. The input hook sees whole packets (fragments are put together before it) and
 *   costs forwarded traffic nothing. Pods may not send VXLAN to this node at all.
 * - forward: nor to another one: masqueraded, it would look like ours and be let in there. VXLAN between pods is
 *   their own business.
 *   A packet to an address of our pod CIDRs that no pod has would leave by the default route, and a router that sends
 *   pod CIDRs back to their nodes would return it until its hops are used up: what would go through a gateway
 *   there is dropped. Pods that another plugin still has in the same CIDR are reached without a gateway and are left alone.
 * - postrouting: pod traffic that leaves the cluster gets the node's address, with random ports, since two pods
 *   that race for the same port would lose a packet. A pod that talks to another node's own address leaves the
 *   cluster's pod CIDRs and is masqueraded too, as with flannel and Calico.
 *
 * A packet between pods on two nodes goes through these chains six times, so each chain lets go at once of what its
 * later rules are not about. Devices of ours are told by link group, a number: to match a name the kernel copies it first,
 * for every rule and packet (nft_meta_store_ifname).
 */
import { FAMILIES, type Family, familyOf } from "../../../addr/index.ts";
import { OVERLAY_LINK_GROUP, POD_LINK_GROUP } from "../../../netlink/index.ts";

import { type EgressAnswer, LET_ANSWERS_IN } from "./egress-answers.ts";
import { type PeerSource, tunnelParts } from "./inner-source.ts";
import { arpTable, icmpOfPods, ND_OF_NODES, ND_OF_PODS, neighbourSets, nextHop } from "./neighbourhood.ts";
import { fromPeersAlone, notBesideTheTunnel, notFromOutside } from "./origin.ts";
import { type PortSecurity, portSecurityTable } from "./port-security.ts";
import { addressOf, hasPods, NOT_OUTSIDE, ofFamily, set, setName, sets, withoutCovered } from "./sets.ts";
import { INSIDE, NO_UPLINK, type UplinkEnd, uplinkRules, type UplinkRules } from "./uplink.ts";

/** Name of the table, of family inet. */
export const TABLE = "skylane";

/** A peer's underlay address and its VXLAN port. */
export interface PeerPort {
  ip: string;
  port: number;
}

/** What the rules of one pod network are made of. */
export interface NetworkRules {
  network: string;
  vni: number;
  /** Our VXLAN port. */
  port: number;
  /** Underlay addresses of the peers. */
  peers: readonly string[];
  /** All that peers may send from inside the tunnel; absent where that is not known, or said by others. Worked out when it is asked for. */
  sources?: () => readonly PeerSource[];
  /** Where peers receive VXLAN that use another port than ours. */
  peerPorts?: readonly PeerPort[];
  /** This node's pod CIDRs. */
  podCidrs: readonly string[];
  /** Peers may have single addresses out of these, to which host routes lead through the overlay. */
  hostRoutes?: boolean;
  /** The whole cluster's; empty where not configured. */
  clusterCidrs: readonly string[];
  masquerade: { enabled: boolean; exclude: readonly string[] };
  /** Which end of the network's uplink is in this namespace; it has none by default. */
  uplink?: UplinkEnd;
  /** The kernel follows connections that this namespace forwards, for the fast path; otherwise it does where a rule asks for it. */
  tracked?: boolean;
  /** Indexes of the underlay interfaces over which peers' pods are reached without encapsulation. */
  directOver?: readonly number[];
  /** Addresses of the nodes, as their pods have them, that take part in this. */
  directVteps?: readonly string[];
  /** Ports of the network's bridge in this namespace; it has none by default. */
  portSecurity?: PortSecurity;
}

/** Pods of a network that leave the cluster by other nodes, from which their answers come. */
export type AnswersOf = (network: string) => readonly EgressAnswer[];

/** What nftables of this kernel can do; everything by default. */
export interface NftFeatures {
  /** `fib` expressions in tables of family inet (nft_fib_inet). */
  fib: boolean;
  /** `masquerade fully-random`. */
  fullyRandom: boolean;
  /** Tables of family arp (nf_tables_arp). */
  arp: boolean;
  /** Tables of family bridge (nf_tables_bridge). */
  bridge: boolean;
  /** Sets whose elements have bits of a packet, by their place, beside an address. */
  innerSource: boolean;
}

export const ALL_FEATURES: NftFeatures = { fib: true, fullyRandom: true, arp: true, bridge: true, innerSource: true };

/** Tables of ours, as "inet skylane". */
export const OWN_TABLES: readonly string[] = [`inet ${TABLE}`, `arp ${TABLE}`, `bridge ${TABLE}`];

const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };
const PODS = `0x${POD_LINK_GROUP.toString(16)}`;
const OVERLAY = `0x${OVERLAY_LINK_GROUP.toString(16)}`;

/**
 * The transaction that puts the table in place, whatever is there: nothing, an older one, one that somebody changed.
 * @param uplinks the host has ends of uplinks, also where none of these networks has one
 * @param answers pods of a network that leave the cluster by other nodes
 * @throws RangeError when a value is no address, prefix or number in range: nothing unparsed ever reaches nft.
 */
export function renderRuleset(
  networks: readonly NetworkRules[],
  features: NftFeatures = ALL_FEATURES,
  uplinks = false,
  answers: AnswersOf = () => [],
): string {
  for (const { vni, port, peerPorts = [], directOver = [] } of networks) {
    for (const number of [port, ...peerPorts.map(({ port }) => port)]) assertWhole(number, 0xffff, "UDP port");
    assertWhole(vni, 0xff_ffff, "VNI");
    for (const ifindex of directOver) assertWhole(ifindex, 0x7fff_ffff, "interface index");
  }
  const uplink = uplinkOf(networks, features, uplinks);
  const parts = [
    ...networks.flatMap(sets),
    ...neighbourSets(hasUnderlay(networks, uplink)),
    ...portSets(networks),
    ...uplink.parts,
    ...prerouting(networks, features, uplink, answers),
    ...input(networks, features, uplink, answers),
    ...forward(networks, uplink),
    ...postrouting(networks, features, uplink),
    ...tracking(networks),
  ];
  const [security] = features.bridge ? networks.flatMap(({ portSecurity }) => portSecurity ?? []) : [];
  return [
    replaced(`inet ${TABLE}`, parts),
    ...(features.arp ? [replaced(`arp ${TABLE}`, arpTable())] : []),
    ...(security ? [replaced(`bridge ${TABLE}`, portSecurityTable(security))] : []),
  ].join("");
}

/** A table put in the place of whatever is there. Adding it first makes the deletion succeed where there is none. */
const replaced = (table: string, parts: readonly string[]): string =>
  `add table ${table}\ndelete table ${table}\ntable ${table} {\n${parts.join("\n")}\n}\n`;

/** Whether pods' packets leave this namespace for the underlay. */
const hasUnderlay = (networks: readonly NetworkRules[], uplink: UplinkRules): boolean =>
  networks.some((network) => hasPods(network) && !network.hostRoutes) ||
  (uplink !== NO_UPLINK && networks.some((network) => !network.hostRoutes));

/** A pod network's own table has its one end; the host's has those of all networks, whose rules are the same. */
function uplinkOf(networks: readonly NetworkRules[], features: NftFeatures, uplinks: boolean): UplinkRules {
  const end = networks.find(({ uplink }) => uplink)?.uplink ?? (uplinks ? "host" : undefined);
  if (networks.length === 0 || end === undefined) return NO_UPLINK;
  const inside = networks.flatMap(({ podCidrs, clusterCidrs }) => [...podCidrs, ...clusterCidrs]);
  const insideSets = FAMILIES.flatMap((family) =>
    set(INSIDE[family], family, true, withoutCovered([...ofFamily(inside, family), ...NOT_OUTSIDE[family]])),
  );
  const { parts, ...rules } = uplinkRules(end, vxlanFromPods(networks), masqueradeBy(features));
  return { parts: [...insideSets, ...parts], ...rules };
}

const masqueradeBy = ({ fullyRandom }: NftFeatures): string => `masquerade${fullyRandom ? " fully-random" : ""}`;

function assertWhole(value: number, most: number, what: string): void {
  if (!Number.isInteger(value) || value < 1 || value > most) throw new RangeError(`${String(value)} is no ${what}`);
}

function chain(name: string, hook: string | undefined, rules: readonly string[]): string[] {
  return [`  chain ${name} {`, ...(hook ? [`    ${hook}`] : []), ...rules.map((rule) => `    ${rule}`), "  }"];
}

/** The kernel follows connections in a namespace from the first rule on that asks for their state (nf_ct_netns_get). */
const tracking = (networks: readonly NetworkRules[]): string[] =>
  networks.some(({ tracked }) => tracked)
    ? chain("tracked", "type filter hook forward priority filter; policy accept;", ["ct state established accept"])
    : [];

function prerouting(
  networks: readonly NetworkRules[],
  { fib }: NftFeatures,
  uplink: UplinkRules,
  answers: AnswersOf,
): string[] {
  const spoofed = fib ? ['fib saddr . iif oif missing counter drop comment "not the address of this pod"'] : [];
  const fromPod = ["meta l4proto icmpv6 jump icmp_of_pod", ...spoofed];
  const fromOverlay = networks.flatMap((network) =>
    FAMILIES.filter((family) => ofFamily(network.podCidrs, family).length > 0).map(
      (family) =>
        `${IP[family]} saddr ${podsOf(network, family)} counter drop comment "a pod of this node, from outside"`,
    ),
  );
  // Asked of nothing but what has an address of our prefixes.
  const fromHosts = networks.flatMap((network) =>
    FAMILIES.filter((family) => fib && network.hostRoutes && ofFamily(network.podCidrs, family).length > 0).map(
      (family) =>
        `iifgroup ${OVERLAY} ${IP[family]} saddr ${podsOf(network, family)} fib saddr . iif oif exists accept`,
    ),
  );
  return [
    ...icmpOfPods(spoofed),
    ...chain("from_pod", undefined, fromPod),
    ...chain("from_outside", undefined, [...fromHosts, ...fromOverlay]),
    ...chain("from_overlay", undefined, [
      ND_OF_NODES,
      ...fromHosts,
      ...fromOverlay,
      ...(networks.some(({ network }) => answers(network).length > 0) ? [LET_ANSWERS_IN] : []),
      ...(fib ? fromPeersAlone(networks) : []),
    ]),
    ...chain("prerouting", "type filter hook prerouting priority raw; policy accept;", [
      `iifgroup ${PODS} goto from_pod`,
      `iifgroup ${OVERLAY} goto from_overlay`,
      ...directOver(networks).map((ifindex) => `iif ${ifindex} goto from_outside`),
      ...uplink.prerouting,
      ...(fib ? notFromOutside(networks, podsOf) : []),
    ]),
    ...(fib ? notBesideTheTunnel(networks) : []),
  ];
}

/** A node's pod CIDRs of a family, for a rule that every packet is asked: one prefix is compared faster than a set. */
function podsOf(network: NetworkRules, family: Family): string {
  const [first = "", ...others] = ofFamily(network.podCidrs, family);
  return others.length === 0 ? first : `@${setName("pods", network, family)}`;
}

/** Interfaces for all networks. */
const directOver = (networks: readonly NetworkRules[]): number[] =>
  [...new Set(networks.flatMap((network) => network.directOver ?? []))].sort((a, b) => a - b);

/** VXLAN between pods is their own business also where it goes to a peer as it is; it is not masqueraded then. */
const ownBusiness = (network: NetworkRules, ports: string): string[] =>
  (network.directOver ?? []).flatMap((ifindex) =>
    FAMILIES.map((family) => {
      const [pods, direct] = [setName("pods", network, family), setName("direct", network, family)];
      return `iifgroup ${PODS} oif ${ifindex} ${IP[family]} daddr @${direct} ${IP[family]} daddr != @${pods} udp dport { ${ports} } accept`;
    }),
  );

const portsOf = (networks: readonly NetworkRules[]): string =>
  [...new Set(networks.map(({ port }) => port))].sort((a, b) => a - b).join(", ");

/** Names of the sets of all networks' {@link NetworkRules.peerPorts}. */
const PEER_PORTS: Record<Family, string> = { 4: "peer_ports4", 6: "peer_ports6" };

/** What a peer says of its own port is said of its own address alone: it must not close a port of anybody else to pods. */
function peerPortsOf(networks: readonly NetworkRules[], family: Family): string[] {
  const theirs = networks.flatMap(({ peerPorts = [] }) => peerPorts.filter(({ ip }) => familyOf(ip) === family));
  return [...new Set(theirs.map(({ ip, port }) => `${addressOf(ip)} . ${port}`))].sort();
}

function portSets(networks: readonly NetworkRules[]): string[] {
  return FAMILIES.flatMap((family) => {
    const elements = peerPortsOf(networks, family);
    if (elements.length === 0) return [];
    const type = `type ipv${family}_addr . inet_service`;
    return [`  set ${PEER_PORTS[family]} {`, `    ${type}`, `    elements = { ${elements.join(", ")} }`, "  }"];
  });
}

/** What tells VXLAN to a node among what pods send: the port that this node and most others have, or a peer's own. */
const vxlanFromPods = (networks: readonly NetworkRules[]): string[] => [
  `udp dport { ${portsOf(networks)} }`,
  ...FAMILIES.filter((family) => peerPortsOf(networks, family).length > 0).map(
    (family) => `${IP[family]} daddr . udp dport @${PEER_PORTS[family]}`,
  ),
];

function input(
  networks: readonly NetworkRules[],
  features: NftFeatures,
  uplink: UplinkRules,
  answers: AnswersOf,
): string[] {
  // The VNI is 24 bits, 4 bytes into the VXLAN header, which follows 8 bytes of UDP (RFC 7348). It is looked up, not compared
  // with each network's in turn: of networks there may be hundreds, and every packet from the underlay is asked.
  const ours = [...Map.groupBy(networks, ({ port }) => port)].map(([port, those]) => {
    const chains = those.map(({ vni }) => `${vni} : goto vxlan_${vni}`).join(", ");
    return `udp dport ${port} @th,96,24 vmap { ${chains} }`;
  });
  if (networks.length === 0) return chain("input", "type filter hook input priority raw; policy accept;", []);
  const toMany = [
    'meta pkttype != host counter drop comment "broadcast or multicast to this node"',
    ...(features.fib ? ['fib daddr type != local counter drop comment "broadcast or multicast to this node"'] : []),
  ];
  return [
    ...networks.flatMap((network) => tunnelParts(network, features, answers(network.network))),
    ...chain("to_node_from_pod", undefined, [
      ND_OF_PODS,
      ...toMany,
      `udp dport { ${portsOf(networks)} } counter drop comment "VXLAN from a pod"`,
    ]),
    ...chain("to_node_from_overlay", undefined, toMany),
    ...chain("input", "type filter hook input priority raw; policy accept;", [
      ...uplink.input,
      `iifgroup ${PODS} goto to_node_from_pod`,
      `iifgroup ${OVERLAY} goto to_node_from_overlay`,
      ...ours,
    ]),
  ];
}

function forward(networks: readonly NetworkRules[], uplink: UplinkRules): string[] {
  const ports = portsOf(networks);
  const underlay = hasUnderlay(networks, uplink);
  const nodes = networks
    .filter(hasPods)
    .flatMap((network) => FAMILIES.map((family) => ({ family, set: setName("peers", network, family) })));
  const rules =
    networks.length > 0
      ? [
          ...uplink.forward,
          `oifgroup ${PODS} accept`,
          `oifgroup ${OVERLAY} accept`,
          ...networks.flatMap((network) => ownBusiness(network, ports)),
          ...vxlanFromPods(networks).map((what) => `iifgroup ${PODS} ${what} counter drop comment "VXLAN from a pod"`),
          ...networks.flatMap((network) =>
            FAMILIES.filter((family) => ofFamily(network.podCidrs, family).length > 0).map((family) => {
              const pods = setName("pods", network, family);
              return `${IP[family]} daddr @${pods} rt ${IP[family]} nexthop != @${pods} counter drop comment "no pod has this address"`;
            }),
          ),
          ...(underlay ? [`iifgroup ${PODS} goto next_hop`] : []),
        ]
      : [];
  return [
    ...(underlay ? nextHop(nodes) : []),
    ...chain("forward", "type filter hook forward priority raw; policy accept;", rules),
  ];
}

function postrouting(networks: readonly NetworkRules[], features: NftFeatures, uplink: UplinkRules): string[] {
  const masqueraded = networks.filter(({ masquerade }) => masquerade.enabled);
  if (masqueraded.length + uplink.postrouting.length === 0) return [];
  const rules = masqueraded.flatMap((network) =>
    FAMILIES.map((family) => {
      const [pods, direct] = [setName("pods", network, family), setName("direct", network, family)];
      return `${IP[family]} saddr @${pods} ${IP[family]} daddr != @${direct} ${masqueradeBy(features)}`;
    }),
  );
  return chain("postrouting", "type nat hook postrouting priority srcnat; policy accept;", [
    `oifgroup ${OVERLAY} return`,
    `oifgroup ${PODS} return`,
    ...uplink.postrouting,
    ...rules,
  ]);
}
