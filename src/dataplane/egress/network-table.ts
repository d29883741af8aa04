/**
 * The table `inet skylane_egress` in the namespace of a pod network. What a selected pod sends to outside of the cluster leaves by the uplink, one step
 * before the masquerade of the network, with a transit for its source: an address out of the node's own prefix that stands for the pods of this
 * network here which leave behind one egress address. By it the host's table knows them (table.ts), and other nodes; the pod's own address may be
 * another tenant's as well. Where there is no transit the packet is dropped: the node's own address would be one that the firewall outside has not
 * been told of.
 */
import { FAMILIES, type Family, familyOf, parseCidr, parseIp } from "../../addr/index.ts";
import { UPLINK_LINK_GROUP } from "../../netlink/index.ts";
import { NOT_OUTSIDE, ofFamily, setOf, withoutCovered } from "../nft/index.ts";
import { ADDRESS, base, BEFORE_SRCNAT, chain, drop, EGRESS_TABLE, IP, map } from "./table.ts";

const UPLINK = `0x${UPLINK_LINK_GROUP.toString(16)}`;

/** Pods of a network here that leave behind one address. */
export interface NetworkWay {
  family: Family;
  /** Addresses of the pods in the network. */
  pods: readonly string[];
  /** Destinations that are reached so; absent: all outside of the cluster. */
  to?: readonly string[];
  /** The source that their packets get; absent where there is none. */
  transit?: string;
}

/** What should be in the namespace of a network. */
export interface NetworkEgressWanted {
  ways: readonly NetworkWay[];
  /** Prefixes of pods, nodes and Services: what is not outside. Canonical; they may overlap. */
  inside: readonly string[];
}

/** The transaction that puts the table in place, whatever is there. @throws RangeError when a value is no address or prefix */
export function renderNetworkEgress({ ways, inside }: NetworkEgressWanted): string {
  const table = `inet ${EGRESS_TABLE}`;
  const sets = FAMILIES.flatMap((family) => {
    // An address is one pod's: a claim's may be of two for a moment, which are the same workload.
    const pods = new Map(
      ways.flatMap((way, index) => way.pods.map(parseIp).map((pod) => [pod, `${pod} : goto way_${index}`] as const)),
    );
    return [
      ...setOf(`inside${family}`, family, true, withoutCovered([...ofFamily(inside, family), ...NOT_OUTSIDE[family]])),
      ...map(
        `pods${family}`,
        `${ADDRESS[family]} : verdict`,
        Array.from(pods).flatMap(([pod, element]) => (familyOf(pod) === family ? [element] : [])),
      ),
    ];
  });
  const destinations = ways.flatMap(({ to, family }, index) =>
    to ? setOf(`to_${index}`, family, true, withoutCovered(ofFamily(to.map(parseCidr), family))) : [],
  );
  const chains = [
    ...ways.flatMap(({ family, to, transit }, index) =>
      chain(
        `way_${index}`,
        ...(to ? [`${IP[family]} daddr != @to_${index} return`] : []),
        transit === undefined ? drop("no way to the gateway") : `snat ${IP[family]} to ${parseIp(transit)}`,
      ),
    ),
    ...base(
      "postrouting",
      `nat hook postrouting priority ${BEFORE_SRCNAT}`,
      `oifgroup != ${UPLINK} return`,
      ...FAMILIES.map((family) => `${IP[family]} daddr @inside${family} return`),
      ...FAMILIES.map((family) => `${IP[family]} saddr vmap @pods${family}`),
    ),
  ];
  return `add table ${table}\ndelete table ${table}\ntable ${table} {\n${[...sets, ...destinations, ...chains].join("\n")}\n}\n`;
}
