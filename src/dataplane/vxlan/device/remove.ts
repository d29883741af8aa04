/**
 * Taking everything of ours out of the kernel: VXLAN devices by name and kind, the pods' host ends that the caller
 * names, and routes with our protocol number, wherever they are. Nothing else.
 */
import { type Link, type Operation, type OperationFailure, ROUTE_PROTOCOL, type Rtnl } from "../../../netlink/index.ts";
import { isDirectRoute } from "../plan/actual.ts";
import { isOverlayDevice } from "./recognize.ts";

/** What is to go besides what is always ours. */
export interface RemovalOptions {
  /** Only the device of this name instead of every VXLAN device of Skylane. */
  device?: string;
  /** Host ends of pods, which the caller knows by their link group; none by default. */
  podLinks?: readonly Link[];
}

/** What was removed, and what the kernel refused to. */
export interface Removal {
  removed: Operation[];
  failures: OperationFailure[];
}

/** Removes the overlay from the namespace of `rtnl`. @throws NetlinkError when the kernel cannot be read */
export function removeOverlay(
  rtnl: Pick<Rtnl, "links" | "routes" | "executeAll">,
  { device, podLinks = [] }: RemovalOptions = {},
): Removal {
  const devices = rtnl
    .links()
    .filter((link) => isOverlayDevice(link) && (device === undefined || link.name === device));
  const links = [...devices, ...podLinks].map(
    ({ index, name }): Operation => ({ op: "del", kind: "link", link: { index, name } }),
  );
  const failures = rtnl.executeAll(links);
  // Routes leave with their device; what is left then was never on one of ours, or its device stayed.
  const gone = new Set(devices.map(({ index }) => index));
  const left = rtnl
    .routes({ protocol: ROUTE_PROTOCOL })
    .filter((route) => device === undefined || gone.has(route.ifindex ?? 0) || isDirectRoute(route))
    .map((route): Operation => ({ op: "del", kind: "route", route }));
  failures.push(...rtnl.executeAll(left).filter(({ error }) => error.code !== "ESRCH"));
  const refused = new Set(failures.map(({ operation }) => operation));
  return { removed: [...links, ...left].filter((operation) => !refused.has(operation)), failures };
}
