/** The sets of our table that are made of addresses: names, and text. */
import { isIP } from "node:net";
import { cidrOf, FAMILIES, type Family, familyOf, parseCidr, parseIp } from "../../../addr/index.ts";
import type { NetworkRules } from "./ruleset.ts";

/** Never masqueraded, since they go to many or never leave the link. Link-local IPv4 addresses are forwarded, and may be beyond the node. */
const NEVER: Record<Family, readonly string[]> = {
  4: ["224.0.0.0/4", "255.255.255.255/32"],
  6: ["fe80::/10", "ff00::/8"],
};
/** What is on no other side of an uplink: these, and the link-local addresses of which uplinks' own are a part. */
export const NOT_OUTSIDE: Record<Family, readonly string[]> = { 4: ["169.254.0.0/16", ...NEVER[4]], 6: NEVER[6] };

/** The name of one of a network's sets. */
export const setName = (kind: "peers" | "pods" | "direct", { vni }: NetworkRules, family: Family): string =>
  `${kind}${family}_${vni}`;

/** A network whose pods are in another namespace has no other rule than that about its peers, and needs no other set. */
export const hasPods = ({ podCidrs, masquerade, directOver = [] }: NetworkRules): boolean =>
  podCidrs.length > 0 || masquerade.enabled || directOver.length > 0;

export function sets(network: NetworkRules): string[] {
  // Asked for once: of thousands of peers they are put together anew each time.
  const { podCidrs, clusterCidrs, peers, masquerade } = network;
  const pods = hasPods(network);
  return FAMILIES.flatMap((family) => {
    const own = ofFamily(podCidrs, family);
    const direct = ofFamily([...podCidrs, ...clusterCidrs, ...masquerade.exclude], family);
    const there = peers.filter((ip) => familyOf(ip) === family).map(addressOf);
    return [
      ...set(setName("peers", network, family), family, false, [...new Set(there)].sort()),
      ...(pods ? set(setName("pods", network, family), family, true, own) : []),
      ...(pods
        ? set(setName("direct", network, family), family, true, withoutCovered([...direct, ...NEVER[family]]))
        : []),
    ];
  });
}

export function set(name: string, family: Family, interval: boolean, elements: readonly string[]): string[] {
  return [
    `  set ${name} {`,
    `    type ipv${family}_addr`,
    ...(interval ? ["    flags interval"] : []),
    ...(elements.length > 0 ? [`    elements = { ${elements.join(", ")} }`] : []),
    "  }",
  ];
}

/** An address, checked by the quickest strict parser that there is: of peers there are thousands. @throws RangeError */
export const addressOf = (ip: string): string => (isIP(ip) === familyOf(ip) && !ip.includes("%") ? ip : parseIp(ip));

export const ofFamily = (cidrs: readonly string[], family: Family): string[] =>
  cidrs.filter((cidr) => familyOf(cidr) === family).map(parseCidr);

/** Interval sets may not overlap; a prefix inside another one says nothing new. */
export function withoutCovered(cidrs: readonly string[]): string[] {
  // Prefixes nest or are apart, so one that is covered follows, by first address, the one that covers it.
  const inOrder = [...new Set(cidrs)].sort((a, b) => {
    const [x, y] = [cidrOf(a), cidrOf(b)];
    return x.first === y.first ? x.prefix - y.prefix : x.first < y.first ? -1 : 1;
  });
  let end = -1n;
  const kept = inOrder.filter((cidr) => {
    const { last } = cidrOf(cidr);
    if (last <= end) return false;
    end = last;
    return true;
  });
  return kept.sort();
}
