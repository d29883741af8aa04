/**
 * Announcements of pods in a bridged network: gratuitous ARP (RFC 5227), unsolicited neighbour advertisements (RFC 4861, section 7.2.6) and
 * probes for an address that somebody may have already. They are for everybody, but a bridge that answers questions for a tunnel's far
 * side (neigh_suppress) keeps them from that port: it takes them for news about addresses that are known there already
 * (net/bridge/br_arp_nd_proxy.c, br_do_proxy_suppress_arp and br_do_suppress_nd). Addresses that move between pods, as VRRP's do, are
 * known nowhere.
 *
 * It looks at ARP by its operation, and lets RARP's through, and at ND with code 0 alone. So an announcement passes the bridge with another number in
 * that place, and has its own again at each port that it leaves by: no frame on the wire, or at a pod, is another one.
 * What is asked from an address that moves is not told from its announcement, and goes to all nodes as well.
 */

/** ARP operations (RFC 826, RFC 903) and those as which they pass the bridge: RARP's, in frames of ARP. */
const PASSING = [
  { operation: "request", as: 3 },
  { operation: "reply", as: 4 },
] as const;
/** No ND message has another code than 0. */
const PASSING_CODE = 1;
const ND = "nd-neighbor-solicit, nd-neighbor-advert";

export interface AnnouncingPods {
  /** Link group of pods' ports, for a rule. */
  group: string;
  /** What pods send from besides their own addresses; the name of a set, and a match of ND messages about them where there are any. */
  allowed: string;
  aboutAllowed6: string | undefined;
  /** IPv4 addresses of the pods' own. */
  own: readonly string[];
}

/** Parts of the bridge's table. They stand behind port security: what is no pod's to say is dropped before. */
export function announcementParts({ group, allowed, aboutAllowed6, own }: AnnouncingPods): string[] {
  const pairs = [...new Set(own)].sort().map((ip) => `${ip} . ${ip}`);
  const announced = [
    ...(pairs.length > 0 ? ["arp saddr ip . arp daddr ip @announced4"] : []),
    `arp saddr ip ${allowed}`,
    `arp saddr ip 0.0.0.0 arp daddr ip ${allowed}`,
  ];
  const arp = announced.map((what) => `ether type arp ${what} goto announced_arp`);
  return [
    ...(pairs.length > 0
      ? ["  set announced4 {", "    type ipv4_addr . ipv4_addr", `    elements = { ${pairs.join(", ")} }`, "  }"]
      : []),
    "  chain announced_arp {",
    ...PASSING.map(({ operation, as }) => `    arp operation ${operation} arp operation set ${as}`).map(
      (rule) => `${rule} accept`,
    ),
    "  }",
    "  chain announced {",
    "    type filter hook prerouting priority -250; policy accept;",
    `    iifgroup != ${group} accept`,
    "    meta pkttype != { broadcast, multicast } accept",
    ...arp.map((rule) => `    ${rule}`),
    `    icmpv6 type nd-neighbor-advert icmpv6 code 0 icmpv6 code set ${PASSING_CODE}`,
    ...(aboutAllowed6 === undefined
      ? []
      : [
          `    ip6 saddr :: icmpv6 type nd-neighbor-solicit icmpv6 code 0 ${aboutAllowed6} icmpv6 code set ${PASSING_CODE}`,
        ]),
    "  }",
    "  chain leaving {",
    "    type filter hook postrouting priority 300; policy accept;",
    "    meta pkttype != { broadcast, multicast } accept",
    ...PASSING.map(({ operation, as }) => `    ether type arp arp operation ${as} arp operation set ${operation}`),
    `    icmpv6 type { ${ND} } icmpv6 code ${PASSING_CODE} icmpv6 code set 0`,
    "  }",
  ];
}
