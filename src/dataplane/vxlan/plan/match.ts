/**
 * When a kernel object is what it should be, and how the right one is made. Both the planner and the drift
 * detector ask here, so that they can never disagree: an entry that one thinks right is never repaired by the other.
 */
import { addressBits, familyOf } from "../../../addr/index.ts";
import {
  type Address,
  type FdbEntry,
  type Link,
  type LinkChange,
  type Neighbour,
  OVERLAY_LINK_GROUP,
  type Route,
  ROUTE_PROTOCOL,
} from "../../../netlink/index.ts";
import { defaultMetric, MAIN_TABLE, PERMANENT } from "./actual.ts";
import { type DesiredFdb, type DesiredNeighbour, type DesiredRoute, leadsToPod } from "../desired/entries.ts";
import type { DesiredDevice } from "../../../peers/index.ts";

/** rtm_type RTN_UNICAST. */
const UNICAST = 1;

/** Whether an address has the length that ours have: no network behind it. */
export const hasHostPrefix = ({ ip, prefix }: Address): boolean => prefix === addressBits(familyOf(ip));

/** Whether an address that should be ours is as it should be. */
export const isRightAddress = (actual: Address): boolean =>
  hasHostPrefix(actual) && actual.permanent === true && actual.dadFailed !== true && actual.tentative !== true;

/** Whether a wrong address cannot be made right in place. */
export const isStubborn = (actual: Address): boolean =>
  familyOf(actual.ip) === 6 && (!hasHostPrefix(actual) || actual.dadFailed === true || actual.tentative === true);

export const addressObject = (ifindex: number, ip: string): Address => {
  const family = familyOf(ip);
  return { ifindex, ip, prefix: addressBits(family), ...(family === 6 && { nodad: true, noPrefixRoute: true }) };
};

export function isRightFdb(desired: DesiredFdb, actual: FdbEntry, device: { vni: number; port: number }): boolean {
  return (
    actual.dst === desired.dst &&
    (actual.state ?? PERMANENT) === PERMANENT &&
    (actual.vni ?? device.vni) === (desired.vni ?? device.vni) &&
    (actual.port ?? device.port) === (desired.port ?? device.port)
  );
}

export const isRightNeighbour = (desired: DesiredNeighbour, actual: Neighbour): boolean =>
  actual.mac === desired.mac && (actual.state ?? PERMANENT) === PERMANENT;

/** Entries that the kernel makes (multicast, failed lookups) are not permanent; those go by themselves. */
export const isMadeNeighbour = (actual: Neighbour): boolean => ((actual.state ?? PERMANENT) & PERMANENT) !== 0;

/** Whether a route stands in the place that one of ours has: same table, destination and priority. */
export const hasPlaceOf = (actual: Route): boolean =>
  (actual.table ?? MAIN_TABLE) === MAIN_TABLE &&
  (actual.metric ?? defaultMetric(actual.dst)) === defaultMetric(actual.dst);

export const isOwnRoute = (actual: Route): boolean => actual.protocol === ROUTE_PROTOCOL;

/** Whether a route's gateway is on the VXLAN device, whatever other routes say. */
const isOnlink = ({ gateway, ifindex }: DesiredRoute): boolean => gateway !== undefined && ifindex === undefined;

/** @param ifindex of the VXLAN device, on which a route lies that names no other */
export function isRightRoute(desired: DesiredRoute, actual: Route, ifindex: number): boolean {
  return (
    actual.ifindex === (desired.ifindex ?? ifindex) &&
    hasPlaceOf(actual) &&
    isOwnRoute(actual) &&
    actual.gateway === desired.gateway &&
    actual.prefSrc === desired.prefSrc &&
    (actual.onlink === true) === isOnlink(desired) &&
    actual.multipath !== true &&
    actual.mtu === desired.mtu &&
    (actual.type ?? UNICAST) === UNICAST
  );
}

/** Scopes from 0 up to this one are anybody's to use (RT_SCOPE_SITE, rtnetlink(7)). */
const FREE_SCOPES = 200;

/**
 * The scope of a peer's IPv4 route, worked out from its prefix. It is no more than a mark: the kernel asks of it only that
 * it is wider than "link". But the kernel looks for routes that could share their insides in a list a (protocol,
 * scope, source, priority, device), and thousands of routes that differ in none of these make adding each of them a walk
 * over all others: 5,000 take 300 ms, with scopes 35. A metric would do the same, but moves the route out of the place in
 * which another one's is found and replaced.
 */
function scopeOf(dst: string): number {
  let hash = 0;
  for (let at = 0; at < dst.length; at++) hash = (hash * 31 + dst.charCodeAt(at)) % 65_521;
  return hash % FREE_SCOPES;
}

export const routeObject = (overlay: number, route: DesiredRoute): Route => {
  const { dst, gateway, ifindex = overlay } = route;
  const family = familyOf(dst);
  // A route to a pod differs from all others in its device.
  const scope = family === 4 && !leadsToPod(route) ? { scope: scopeOf(dst) } : {};
  const prefSrc = route.prefSrc === undefined ? {} : { prefSrc: route.prefSrc };
  // The kernel is to say so when a direct route's gateway is on no network of the interface.
  const onlink = isOnlink(route) ? { onlink: true } : {};
  const way = gateway === undefined ? {} : { gateway };
  const mtu = route.mtu === undefined ? {} : { mtu: route.mtu };
  return { family, dst, ...way, ...prefSrc, ifindex, ...onlink, protocol: ROUTE_PROTOCOL, ...scope, ...mtu };
};

/** What of a VXLAN device can only be set when it is made, and differs; empty when it can stay. */
export function fixedDifferences(desired: DesiredDevice, { vxlan, master }: Link): string[] {
  if (!vxlan) return ["kind"];
  const wrong: [string, boolean][] = [
    ["VNI", vxlan.vni !== desired.vni],
    ["port", vxlan.port !== desired.port],
    ["local address", vxlan.local !== desired.local],
    ["learning", vxlan.learning],
    ["group", vxlan.group !== undefined],
    ["underlay device", (vxlan.link ?? 0) !== 0],
    ["bridge or VRF", !desired.bridged && (master ?? 0) !== 0],
  ];
  return wrong.filter(([, differs]) => differs).map(([name]) => name);
}

/** What of it can be set in place, and differs. */
export function liveDifferences(
  desired: DesiredDevice,
  link: Link,
): Pick<LinkChange, "mac" | "mtu" | "alias" | "group"> {
  return {
    ...(link.mac !== desired.mac && { mac: desired.mac }),
    ...(link.mtu !== desired.mtu && { mtu: desired.mtu }),
    ...(link.alias !== desired.alias && { alias: desired.alias }),
    ...(link.group !== OVERLAY_LINK_GROUP && { group: OVERLAY_LINK_GROUP }),
  };
}
