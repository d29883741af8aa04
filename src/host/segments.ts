/**
 * Which peers are on a segment of this node's, so that their pods are reached by a plain route through their underlay
 * address. What counts is the kernel's own choice of way to that address: no gateway, and the interface that has our
 * underlay address of the family. For thousands of peers it is not asked once for each: the routes of the main table are
 * read once and looked up here as the kernel does, the longest prefix and then the lowest metric. Where policy rules
 * could choose another table, whoever seems to be direct is asked of the kernel after all.
 */
import { type Family, familyOf } from "../addr/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { type Address, ROUTE_PROTOCOL, type Route, type Rule } from "../netlink/index.ts";
import { type DirectHop, type Peer, PrefixIndex, prefixOf } from "../peers/index.ts";

/** RT_TABLE_MAIN, and what every kernel has rules for: default, main, local (linux/rtnetlink.h). */
const MAIN_TABLE = 254;
const USUAL_TABLES = [253, MAIN_TABLE, 255];
/** rtm_type RTN_UNICAST. */
const UNICAST = 1;
/** The machine as far as directness depends on it. */
export interface SegmentInput {
  addresses: readonly Address[];
  /** Reads the routes of the main table; ours are passed over. Of thousands of peers that is dear: it is asked for where it is needed. */
  routes(): readonly Route[];
  rules(): readonly Rule[];
  /** The kernel's route lookup; undefined where it finds no route. */
  routeTo(ip: string): { ifindex?: number; gateway?: string } | undefined;
}

/** The segments of the underlay that this node is on. */
export interface Segments {
  /** The same for the same answers. */
  readonly key: string;
  /** Indexes of the interfaces with our underlay addresses. */
  readonly interfaces: readonly number[];
  /** The way to an address on a segment of ours; undefined for all others, and for our own. */
  readonly hopTo: (ip: string) => DirectHop | undefined;
}

/** Works the segments out. @param ips this node's underlay addresses, at most one a family */
export function segmentsOf(ips: readonly string[], machine: SegmentInput): Segments {
  const { addresses } = machine;
  const own = new Map<Family, number>();
  for (const ip of ips) {
    const found = addresses.find((address) => address.ip === ip);
    if (found) own.set(familyOf(ip), found.ifindex);
  }
  const known = machine.routes().filter(({ protocol, dst }) => protocol !== ROUTE_PROTOCOL && dst !== "default");
  const index = new PrefixIndex<Route>();
  for (const route of known) index.add(prefixOf(route.dst), route);
  const asks = machine.rules().some(({ table, action = 1 }) => action !== 1 || !USUAL_TABLES.includes(table));
  const here = new Set(addresses.map(({ ip }) => ip));
  const bestTo = (ip: string): Route | undefined => {
    let best: Route | undefined;
    index.overlapping(prefixOf(ip), (route) => {
      const nearer = best?.dst !== route.dst || (route.metric ?? 0) < (best.metric ?? 0);
      if (nearer) best = route;
    });
    return best;
  };
  return {
    key: JSON.stringify([
      [...own],
      asks,
      ips,
      known
        .map((route) => String([route.dst, route.ifindex, route.gateway, route.metric, route.type, route.multipath]))
        .sort(),
    ]),
    interfaces: [...new Set(own.values())].sort((a, b) => a - b),
    hopTo: (ip) => {
      const ifindex = own.get(familyOf(ip));
      if (ifindex === undefined || here.has(ip)) return undefined;
      const best = bestTo(ip);
      if (
        best?.ifindex !== ifindex ||
        best.gateway !== undefined ||
        best.multipath ||
        (best.type ?? UNICAST) !== UNICAST
      )
        return undefined;
      if (asks) {
        const route = machine.routeTo(ip);
        if (route?.ifindex !== ifindex || route.gateway !== undefined) return undefined;
      }
      return { gateway: ip, ifindex };
    },
  };
}

/**
 * Families in which packets to peers may leave unencapsulated. A packet that does is told from one that leaves the cluster, and
 * is masqueraded, by its destination alone, so the cluster's pod CIDRs must be known and not be learned peer by peer.
 */
export const directFamilies = ({
  clusterCidrs,
  masquerade,
}: Pick<AgentConfig, "clusterCidrs" | "masquerade">): Family[] =>
  ([4, 6] as const).filter((family) => !masquerade.enabled || clusterCidrs.some((cidr) => familyOf(cidr) === family));

/** A peer with its direct hops, of these families; the peer itself where it has none. */
export function withHops(peer: Peer, segments: Segments | undefined, families: readonly Family[]): Peer {
  const direct = (peer.receivesAt ?? [])
    .filter((ip) => families.includes(familyOf(ip)))
    .flatMap((ip) => segments?.hopTo(ip) ?? []);
  return direct.length > 0 ? { ...peer, direct } : peer;
}
