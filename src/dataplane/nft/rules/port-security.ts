/**
 * Port security of bridged networks: a pod sends from its own MAC and addresses, in the headers of its packets and in the
 * bodies of ARP and ND alike. The bridge's ports are locked to MACs already (src/bridge); this is a table of family bridge in the network's
 * namespace, which sees frames before the bridge does.
 *
 * A MAC that is not the port's is left to the lock, which drops it and tells of it. A pod's link-local address is the one that follows
 * from its MAC (RFC 4291, appendix A). What a network allows besides (`allowedAddresses`), any of its pods may send from, by its
 * own MAC, and what a claim allows, its pod: addresses that move between pods, as VRRP's do. Router advertisements and redirects are nobody's. Frames with a VLAN tag are dropped:
 * tag 0 is none to whoever receives it, and there are no VLANs in a network. Other protocols than IP and ARP have no addresses of the network.
 */
import {
  bigIntToIp,
  cidrOf,
  FAMILIES,
  type Family,
  familyOf,
  ipToBytes,
  linkLocalOf,
  parseCidr,
  parseIp,
  parseMac,
} from "../../../addr/index.ts";
import { POD_LINK_GROUP } from "../../../netlink/index.ts";
import { announcementParts } from "./announcements.ts";
import { set, withoutCovered } from "./sets.ts";

/** A pod's port, and what it may send from. */
export interface PortAddresses {
  ifname: string;
  mac: string;
  ips: readonly string[];
  /** Prefixes that this port may send from besides. */
  allowed?: readonly string[];
}

/** What the rules of a bridged network are made of. */
export interface PortSecurity {
  ports: readonly PortAddresses[];
  /** Prefixes that every port may send from besides. */
  allowed: readonly string[];
}

const PODS = `0x${POD_LINK_GROUP.toString(16)}`;
const IFNAME = /^[A-Za-z0-9._-]{1,15}$/;
const drop = (comment: string): string => `counter drop comment "${comment}"`;
/** ARP, ND and MLD of one port: room for a pod that meets a thousand others at once. */
const ASKING = "limit rate over 200/second burst 1000 packets";
const ND = "nd-router-solicit, nd-neighbor-solicit, nd-neighbor-advert";
/** What is sent from the unspecified address: duplicate detection and multicast reports. */
const UNSPECIFIED = "nd-neighbor-solicit, mld-listener-report, mld-listener-done, mld2-listener-report";

const chain = (name: string, rules: readonly string[]): string[] => [
  `  chain ${name} {`,
  ...rules.map((rule) => `    ${rule}`),
  "  }",
];

/** @throws RangeError for values that are none */
function checked({ ifname, mac, ips, allowed = [] }: PortAddresses): Required<PortAddresses> {
  if (!IFNAME.test(ifname)) throw new RangeError(`${JSON.stringify(ifname)} is no interface's name`);
  const own = ips.map(parseIp);
  const linkLocal = own.some((ip) => familyOf(ip) === 6) ? [parseIp(linkLocalOf(parseMac(mac)))] : [];
  return { ifname, mac: parseMac(mac), ips: [...own, ...linkLocal], allowed: allowed.map(parseCidr) };
}

const elements = (all: readonly string[]): string[] =>
  all.length > 0 ? [`    elements = { ${[...new Set(all)].sort().join(", ")} }`] : [];
const typed = (name: string, type: string, all: readonly string[]): string[] => [
  `  set ${name} {`,
  `    type ${type}`,
  ...elements(all),
  "  }",
];

const prefixes = (name: string, family: Family, all: readonly string[]): string[] =>
  set(name, family, true, withoutCovered(all.filter((one) => familyOf(one) === family).map(parseCidr)));

const hex = (ip: string): string => `0x${Buffer.from(ipToBytes(ip)).toString("hex")}`;

/** The parts of the table. @throws RangeError for values that are none */
export function portSecurityTable({ ports: given, allowed }: PortSecurity): string[] {
  const ports = given.map(checked);
  const key = ({ ifname, mac }: PortAddresses): string => `"${ifname}" . ${mac}`;
  const own = (family: Family): string[] =>
    ports.flatMap((port) => port.ips.filter((ip) => familyOf(ip) === family).map((ip) => `${key(port)} . ${ip}`));
  // The target of an advertisement is 16 bytes, 8 into the message. No set of addresses can be asked for what has no type.
  const targets = ports.flatMap((port) => {
    const ips = port.ips.filter((ip) => familyOf(ip) === 6).map(hex);
    return ips.length > 0 ? [`iifname "${port.ifname}" @th,64,128 { ${ips.join(", ")} } accept`] : [];
  });
  /** Few ports have some, so each has rules of its own. */
  const ofClaims = (family: Family, about: string, then: string): string[] =>
    ports.flatMap(({ ifname, allowed }) => {
      const own = withoutCovered(allowed.filter((one) => familyOf(one) === family));
      return own.length > 0 ? [`iifname "${ifname}" ${about} { ${own.join(", ")} } ${then}`] : [];
    });
  const all = [...allowed, ...ports.flatMap((port) => port.allowed)];
  const ranges = (prefixes: readonly string[]): string[] =>
    withoutCovered(prefixes.filter((one) => familyOf(one) === 6).map(parseCidr)).map(addressRange);
  const besides = ranges(allowed);
  const targetsOfClaims = ports.flatMap(({ ifname, allowed }) => {
    const own = ranges(allowed);
    return own.length > 0 ? [`iifname "${ifname}" @th,64,128 { ${own.join(", ")} } accept`] : [];
  });
  const moving = ranges(all);
  return [
    ...typed("macs", "ifname . ether_addr", ports.map(key)),
    ...FAMILIES.flatMap((family) => [
      ...typed(`own${family}`, `ifname . ether_addr . ipv${family}_addr`, own(family)),
      ...prefixes(`allowed${family}`, family, allowed),
    ]),
    ...prefixes("moving4", 4, all),
    "  set asking {",
    "    type ifname",
    "    size 65535",
    "    flags dynamic,timeout",
    "    timeout 10s",
    "  }",
    ...chain("arp_of_port", [
      `update @asking { iifname ${ASKING} } ${drop("too many questions of a pod")}`,
      "iifname . arp saddr ether . arp saddr ip @own4 accept",
      `iifname . arp saddr ether != @macs ${drop("ARP in another's name")}`,
      "arp saddr ip 0.0.0.0 arp operation request accept",
      "arp saddr ip @allowed4 accept",
      ...ofClaims(4, "arp saddr ip", "accept"),
      drop("ARP in another's name"),
    ]),
    ...chain("ip_of_port", [
      "iifname . ether saddr . ip saddr @own4 accept",
      "ip saddr @allowed4 accept",
      ...ofClaims(4, "ip saddr", "accept"),
      "ip saddr 0.0.0.0 udp sport 68 udp dport 67 accept",
      drop("not the address of this port"),
    ]),
    ...chain("advert_of_port", [
      ...targets,
      ...(besides.length > 0 ? [`@th,64,128 { ${besides.join(", ")} } accept`] : []),
      ...targetsOfClaims,
      drop("ND in another's name"),
    ]),
    ...chain("icmp_of_port", [
      `icmpv6 type { nd-router-advert, nd-redirect } ${drop("a router's word from a pod")}`,
      `icmpv6 type { ${ND} } update @asking { iifname ${ASKING} } ${drop("too many questions of a pod")}`,
      `ip6 saddr :: icmpv6 type { ${UNSPECIFIED} } accept`,
    ]),
    ...chain("ip6_of_port", [
      "meta l4proto icmpv6 jump icmp_of_port",
      "iifname . ether saddr . ip6 saddr @own6 jump own_of_port",
      "ip6 saddr @allowed6 jump own_of_port",
      ...ofClaims(6, "ip6 saddr", "jump own_of_port"),
      drop("not the address of this port"),
    ]),
    ...chain("own_of_port", ["icmpv6 type nd-neighbor-advert goto advert_of_port", "accept"]),
    ...chain("of_port", [
      "iifname . ether saddr != @macs accept",
      `ether type { 8021q, 8021ad, 0x9100, 0x9200 } ${drop("a VLAN tag")}`,
      "ether type arp goto arp_of_port",
      "ether type ip goto ip_of_port",
      "ether type ip6 goto ip6_of_port",
    ]),
    "  chain prerouting {",
    "    type filter hook prerouting priority -300; policy accept;",
    `    iifgroup ${PODS} goto of_port`,
    "  }",
    ...announcementParts({
      group: PODS,
      allowed: "@moving4",
      aboutAllowed6: moving.length > 0 ? `@th,64,128 { ${moving.join(", ")} }` : undefined,
      own: ports.flatMap(({ ips }) => ips.filter((ip) => familyOf(ip) === 4)),
    }),
  ];
}

/** A prefix as a range of untyped numbers. */
function addressRange(prefix: string): string {
  const { first, last } = cidrOf(parseCidr(prefix));
  const [from, to] = [hex(bigIntToIp(first, 6)), hex(bigIntToIp(last, 6))];
  return from === to ? from : `${from}-${to}`;
}
