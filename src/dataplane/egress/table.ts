/**
 * The table `inet skylane_egress`. On the node of a pod:
 *
 * - prerouting, behind the translation of destinations: what a selected pod sends to outside of the cluster gets a mark, by which policy routing
 *   leads it through the tunnel to the gateway's node; or another one where that is this node; or is dropped where nobody has the address. The
 *   node's own address would be one that the firewall outside has not been told of. Pods of a network of their own are known by the transit
 *   that their packets have when they come by the uplink (network-table.ts).
 * - forward: what has a gateway's mark and would leave by another device than the tunnel has lost its way, and is dropped.
 * - postrouting: the mark is taken off. The VXLAN device looks up the way of its outer packet with the mark of the inner one, and would send
 *   it to the gateway by itself.
 * - prerouting, behind conntrack: what came from a gateway through the tunnel (see rules/egress-answers.ts of dataplane/nft) belongs to a
 *   connection that the pod has begun, and is no pod's, node's or Service's.
 *
 * On the gateway's node:
 *
 * - prerouting: what comes through the tunnel for outside of the cluster is of a pod that leaves here, or is dropped.
 * - postrouting, one step before the masquerade of pods: the source becomes the pod's egress address.
 * - prerouting, behind conntrack: what is sent to an egress address is for a pod's connection; there is nothing of the node's for it.
 *
 * Rules of routing and of this table hold by addresses alone, and pods cannot set marks that the host sees: they go when a packet changes namespaces.
 */
import { FAMILIES, type Family, familyOf, parseCidr, parseIp } from "../../addr/index.ts";
import { OVERLAY_LINK_GROUP, POD_LINK_GROUP, UPLINK_LINK_GROUP } from "../../netlink/index.ts";
import {
  EGRESS_MARK,
  isEgressMark,
  NOT_OUTSIDE,
  ofFamily,
  setEgressMark,
  setOf,
  withoutCovered,
} from "../nft/index.ts";
import type { EgressWanted, EgressWay } from "./wanted.ts";

/** Name of the table, of family inet. */
export const EGRESS_TABLE = "skylane_egress";

const PODS = `0x${POD_LINK_GROUP.toString(16)}`;
const OVERLAY = `0x${OVERLAY_LINK_GROUP.toString(16)}`;
const UPLINK = `0x${UPLINK_LINK_GROUP.toString(16)}`;
export const IP: Record<Family, string> = { 4: "ip", 6: "ip6" };
export const ADDRESS: Record<Family, string> = { 4: "ipv4_addr", 6: "ipv6_addr" };
/** Behind the translation of destinations, that of host ports included (-99). */
const BEHIND_DSTNAT = -90;
/** One step before `srcnat`, where pods are masqueraded. */
export const BEFORE_SRCNAT = 99;
const BEHIND_SRCNAT = 150;

export const drop = (comment: string): string => `counter drop comment "${comment}"`;
const wayName = (index: number): string => `way_${index}`;

export function map(name: string, type: string, elements: readonly string[]): string[] {
  const list = elements.length > 0 ? [`    elements = { ${elements.join(", ")} }`] : [];
  return [`  map ${name} {`, `    type ${type}`, ...list, "  }"];
}

export const chain = (name: string, ...rules: string[]): string[] => [
  `  chain ${name} {`,
  ...rules.map((rule) => `    ${rule}`),
  "  }",
];
export const base = (name: string, hook: string, ...rules: string[]): string[] =>
  chain(name, `type ${hook}; policy accept;`, ...rules);

/** What becomes of a packet of a way's pods. */
function verdictOf({ by, family }: EgressWay, numbers: ReadonlyMap<string, number>): string {
  if (by === "here") return setEgressMark(EGRESS_MARK.here);
  const number = by?.vteps[family] === undefined ? undefined : numbers.get(by.node);
  return number === undefined ? drop("nobody has the egress address") : setEgressMark(number * EGRESS_MARK.step);
}

/**
 * The transaction that puts the table in place, whatever is there.
 * @param numbers of gateways' nodes @throws RangeError when a value is no address or prefix: nothing unparsed ever reaches nft
 */
export function renderEgress(wanted: EgressWanted, numbers: ReadonlyMap<string, number>): string {
  const table = `inet ${EGRESS_TABLE}`;
  const ways = wanted.ways.map((way) => ({ ...way, pods: [...new Set(way.pods.map(parseIp))] }));
  const through = Array.from(wanted.through, ([pod, address]) => [parseIp(pod), parseIp(address)] as const);
  const both = (rule: (family: Family) => string): string[] => FAMILIES.map(rule);
  const sets = FAMILIES.flatMap((family) => {
    const [type, ofIt] = [ADDRESS[family], (ip: string): boolean => familyOf(ip) === family];
    const here = through.filter(([pod]) => ofIt(pod));
    const pods = ways.flatMap((way, index) => way.pods.filter(ofIt).map((pod) => `${pod} : goto ${wayName(index)}`));
    const inside = withoutCovered([...ofFamily(wanted.inside, family), ...NOT_OUTSIDE[family]]);
    return [
      ...setOf(`inside${family}`, family, true, inside),
      ...setOf(`held${family}`, family, false, wanted.addresses.filter(ofIt).map(parseIp)),
      ...setOf(
        `through${family}`,
        family,
        false,
        here.map(([pod]) => pod),
      ),
      ...map(
        `source${family}`,
        `${type} : ${type}`,
        here.map(([pod, address]) => `${pod} : ${address}`),
      ),
      ...map(`pods${family}`, `${type} : verdict`, pods),
    ];
  });
  const destinations = ways.flatMap(({ to, family }, index) => {
    return to ? setOf(`to_${index}`, family, true, withoutCovered(ofFamily(to.map(parseCidr), family))) : [];
  });
  const chains = [
    ...ways.flatMap((way, index) =>
      chain(
        wayName(index),
        ...(way.to ? [`${IP[way.family]} daddr != @to_${index} return`] : []),
        verdictOf(way, numbers),
      ),
    ),
    ...chain(
      "from_pod",
      ...both((family) => `${IP[family]} daddr @inside${family} return`),
      ...both((family) => `${IP[family]} saddr vmap @pods${family}`),
    ),
    ...chain(
      "from_tunnel",
      ...both((family) => `${IP[family]} daddr @inside${family} return`),
      ...both((family) => `${IP[family]} saddr @through${family} ${setEgressMark(EGRESS_MARK.here)} return`),
      drop("not a pod that leaves the cluster here"),
    ),
    ...chain(
      "answer",
      setEgressMark(0),
      ...both((family) => `${IP[family]} saddr @inside${family} ${drop("a pod, node or Service, from a gateway")}`),
      "ct state established,related accept",
      drop("not an answer to a pod"),
    ),
    ...base(
      "known",
      "filter hook prerouting priority mangle",
      `iifgroup ${OVERLAY} ${isEgressMark(EGRESS_MARK.answer)} goto answer`,
      ...both(
        (family) => `${IP[family]} daddr @held${family} ct state { new, invalid } ${drop("to an egress address")}`,
      ),
    ),
    ...base(
      "prerouting",
      `filter hook prerouting priority ${BEHIND_DSTNAT}`,
      `iifgroup { ${PODS}, ${UPLINK} } goto from_pod`,
      `iifgroup ${OVERLAY} goto from_tunnel`,
    ),
    ...base(
      "forward",
      "filter hook forward priority raw",
      `${isEgressMark(0)} accept`,
      `${isEgressMark(EGRESS_MARK.here)} accept`,
      `oifgroup != ${OVERLAY} ${drop("no way to the gateway")}`,
    ),
    ...base(
      "postrouting",
      `nat hook postrouting priority ${BEFORE_SRCNAT}`,
      `oifgroup ${OVERLAY} return`,
      ...both(
        (family) => `${isEgressMark(EGRESS_MARK.here)} snat ${IP[family]} to ${IP[family]} saddr map @source${family}`,
      ),
    ),
    ...base(
      "unmark",
      `filter hook postrouting priority ${BEHIND_SRCNAT}`,
      `${isEgressMark(0)} accept`,
      setEgressMark(0),
    ),
  ];
  return `add table ${table}\ndelete table ${table}\ntable ${table} {\n${[...sets, ...destinations, ...chains].join("\n")}\n}\n`;
}
