/**
 * Where the kernel would send what this host answers to pods: a packet with one of the host's own addresses as its source is looked
 * up by policy routing rules for it, which the way without a source does not show.
 */
import { type Family, FAMILIES, familyOf, ipScope } from "../../../addr/index.ts";
import {
  type Address,
  isPodLinkGroup,
  type Link,
  NetlinkError,
  OVERLAY_LINK_GROUP,
  type Route,
  ROUTE_PROTOCOL,
  type Rtnl,
} from "../../../netlink/index.ts";
import type { Astray } from "../facts.ts";

/** Addresses of the host that are asked for: more than nodes have, but for those that are load balancers. */
const MOST = 64;

/** Looks up the ways from each address to a pod here and to one on another node. */
export function gatherAstray(
  rtnl: Pick<Rtnl, "routeTo">,
  links: readonly Link[],
  addresses: readonly Address[],
  routes: readonly Route[],
): Astray[] {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const isOurs = (ifindex: number | undefined): boolean => {
    const group = byIndex.get(ifindex ?? 0)?.group;
    return group !== undefined && (isPodLinkGroup(group) || group === OVERLAY_LINK_GROUP);
  };
  const own = addresses.filter(({ ip, ifindex }) => ipScope(ip) === "unicast" && !isOurs(ifindex)).slice(0, MOST);
  const found: Astray[] = [];
  for (const family of FAMILIES) {
    const targets = targetsOf(family, routes, (ifindex) => byIndex.get(ifindex ?? 0)?.group);
    for (const { ip: from } of own.filter(({ ip }) => familyOf(ip) === family)) {
      for (const to of targets) {
        const way = ask(rtnl, to, from);
        if (way?.ifindex !== undefined && way.ifindex === ask(rtnl, to)?.ifindex) continue;
        found.push({ from, to, device: byIndex.get(way?.ifindex ?? 0)?.name, table: way?.table });
      }
    }
  }
  return found;
}

/** A pod of this node, and one of another, if there are any: by our own routes to them. */
function targetsOf(
  family: Family,
  routes: readonly Route[],
  groupOf: (ifindex: number | undefined) => number | undefined,
): string[] {
  const ours = routes.filter((route) => route.family === family && route.protocol === ROUTE_PROTOCOL);
  const here = ours.find(({ ifindex, gateway }) => gateway === undefined && isPodLinkGroup(groupOf(ifindex) ?? 0));
  const there = ours.find(({ ifindex, gateway }) => gateway !== undefined && groupOf(ifindex) === OVERLAY_LINK_GROUP);
  return [here, there].flatMap((route) => (route ? [route.dst.slice(0, route.dst.indexOf("/"))] : []));
}

function ask(rtnl: Pick<Rtnl, "routeTo">, to: string, from?: string): Route | undefined {
  try {
    return rtnl.routeTo(to, from);
  } catch (error) {
    if (error instanceof NetlinkError) return undefined; // no route there
    throw error;
  }
}
