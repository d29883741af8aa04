/**
 * What keeps pods and other nodes from filling this node's tables of neighbours, of which the kernel has one a family for all
 * network namespaces together (1,024 entries as a rule, `gc_thresh3`): who fills it cuts everybody off whose neighbour
 * is not known yet.
 *
 * - ARP and ND of a pod are about the pod and its gateway, at a bounded rate. The kernel learns who asks for an address of ours; that
 *   a pod asks from its own address alone is seen to by `fib` here, and for ARP by the host end's arp_filter (src/dataplane/pod-link/host-end/neighbours.ts).
 *   Answers count that this node has asked for.
 * - Nobody is asked for, and nobody asks, over an overlay device or an uplink: all neighbours there are permanent.
 * - A pod that sends to ever new addresses next to the node makes the node look for each: only so many new ones a second are
 *   let through. Those that are on the way to somewhere else are one neighbour, the router.
 *
 * ARP has a family of its own in nftables, and so a table of its own.
 */
import { FAMILIES, type Family } from "../../../addr/index.ts";
import { OVERLAY_LINK_GROUP, POD_LINK_GROUP, UPLINK_LINK_GROUP } from "../../../netlink/index.ts";

const group = (number: number): string => `0x${number.toString(16)}`;
const PODS = group(POD_LINK_GROUP);
const OVERLAY = group(OVERLAY_LINK_GROUP);
const UPLINK = group(UPLINK_LINK_GROUP);

/** The pods' gateways: what they ask for. */
const GATEWAY_4 = "169.254.1.1";
/** fe80::1 as the target of a solicitation: 16 bytes, 8 into the ICMPv6 message (RFC 4861, section 4.3). */
const TARGET_IS_GATEWAY = "@th,64,128 0xfe800000000000000000000000000001";

/** Neighbour discovery and router discovery (RFC 4861). */
const ND = "nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, nd-redirect";
const MLD = "mld-listener-query, mld-listener-report, mld-listener-done, mld2-listener-report";
/** Of these, what a pod may send: it is no router. */
const OF_PODS =
  "nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert, mld-listener-report, mld-listener-done, mld2-listener-report";
/** What a pod sends from the unspecified address while it has none yet: duplicate detection and multicast reports. */
const UNSPECIFIED = "nd-neighbor-solicit, mld-listener-report, mld-listener-done, mld2-listener-report";

/** A pod asks for its gateway once; what is more than this is no pod's need. */
const ASKING = "limit rate over 50/second burst 100 packets";
/** New neighbours of the node that a pod has it look for. */
const REACHING = "limit rate over 20/second burst 100 packets";

const drop = (comment: string): string => `counter drop comment "${comment}"`;

/** A set that rules fill by themselves. */
const filled = (name: string, type: string, timeout: string): string[] => [
  `  set ${name} {`,
  `    type ${type}`,
  "    size 65535",
  "    flags dynamic,timeout",
  `    timeout ${timeout}`,
  "  }",
];
const chain = (name: string, rules: readonly string[]): string[] => [
  `  chain ${name} {`,
  ...rules.map((rule) => `    ${rule}`),
  "  }",
];

/** Sets that the rules of the table of family inet need. */
export const neighbourSets = (underlay: boolean): string[] => [
  ...filled("asking", "iface_index", "10s"),
  ...(underlay
    ? [
        ...filled("reaching", "iface_index", "10s"),
        ...filled("hops4", "ipv4_addr", "60s"),
        ...filled("hops6", "ipv6_addr", "60s"),
      ]
    : []),
];

/** Chain for ICMPv6 of pods, in the prerouting hook. What it lets go on is judged like any other packet. @param spoofed drops what is not from the pod's addresses */
export const icmpOfPods = (spoofed: readonly string[]): string[] =>
  chain("icmp_of_pod", [
    `icmpv6 type { ${ND}, ${MLD} } update @asking { iif ${ASKING} } ${drop("too many questions of a pod")}`,
    `ip6 saddr :: icmpv6 type { ${UNSPECIFIED} } accept`,
    ...spoofed,
    `icmpv6 type nd-neighbor-solicit ${TARGET_IS_GATEWAY} accept`,
    `icmpv6 type nd-neighbor-solicit ${drop("a question of a pod, not for its gateway")}`,
    `icmpv6 type { ${OF_PODS} } accept`,
    `icmpv6 type { ${ND}, ${MLD} } ${drop("a router's word from a pod")}`,
  ]);

/** Rule for the input hook, for what pods may send to groups. */
export const ND_OF_PODS = `icmpv6 type { ${OF_PODS} } accept`;

/** Rule for what comes from another node. */
export const ND_OF_NODES = `icmpv6 type { ${ND}, ${MLD} } ${drop("neighbour discovery over the overlay")}`;

/**
 * Chain at the end of the forward hook, for what leaves this node by another device than ours. Other nodes are no new neighbours,
 * however many they are: a pod may speak to all of them at once, as one does that gathers metrics.
 * @param nodes sets of the underlay addresses of peers, by the family of their packets
 */
export const nextHop = (nodes: readonly { family: Family; set: string }[]): string[] =>
  chain("next_hop", [
    ...FAMILIES.flatMap((family) => {
      const hop = `meta nfproto ipv${family} rt ip${family === 6 ? "6" : ""} nexthop`;
      const known = nodes.filter((one) => one.family === family).map(({ set }) => set);
      return [...known, `hops${family}`].map((name) => `${hop} @${name} accept`);
    }),
    `update @reaching { iif ${REACHING} } ${drop("too many new neighbours for a pod")}`,
    "meta nfproto ipv4 add @hops4 { rt ip nexthop } accept",
    "meta nfproto ipv6 add @hops6 { rt ip6 nexthop } accept",
  ]);

/** The parts of the table of family arp. */
export const arpTable = (): string[] => [
  ...filled("asking", "iface_index", "10s"),
  ...filled("asked", "iface_index . ipv4_addr", "5s"),
  ...chain("of_pod", [
    `update @asking { iif ${ASKING} } ${drop("too many questions of a pod")}`,
    `arp operation request arp daddr ip ${GATEWAY_4} accept`,
    "arp operation reply iif . arp saddr ip @asked accept",
    drop("not for the pod's gateway, and no answer"),
  ]),
  "  chain input {",
  "    type filter hook input priority filter; policy accept;",
  `    iifgroup ${PODS} goto of_pod`,
  `    iifgroup { ${OVERLAY}, ${UPLINK} } ${drop("ARP over the overlay")}`,
  "  }",
  "  chain output {",
  "    type filter hook output priority filter; policy accept;",
  `    oifgroup ${PODS} arp operation request update @asked { oif . arp daddr ip }`,
  "  }",
];
