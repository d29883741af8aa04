/**
 * Routing by source in a sandbox: what is sent from an interface's addresses goes by a table of its own, whose only routes are
 * default ones through that interface. One interface of a pod has it, so one table does for all pods.
 *
 * A rule names no device and so does not go with one: it is taken away by itself.
 */
import { type Family, familyOf } from "../addr/index.ts";
import { type Operation, type Route, ROUTE_PROTOCOL, type Rtnl, type Rule } from "../netlink/index.ts";
import { GATEWAY, hostPrefix } from "./names.ts";

/** The table. Nothing else that makes routes in pods is known to use it; 253 to 255 are the kernel's (rt_tables). */
export const SOURCE_TABLE = 8300;
/** Before the main table (32766), after the local one (0). */
const PRIORITY = 8300;

/** The rule of an address. */
export const sourceRule = (ip: string): Rule => ({
  family: familyOf(ip),
  priority: PRIORITY,
  table: SOURCE_TABLE,
  src: hostPrefix(ip),
  protocol: ROUTE_PROTOCOL,
});

/** The table's route of a family. */
export const sourceRoute = (family: Family, ifindex: number): Route => ({
  family,
  dst: "default",
  gateway: GATEWAY[family],
  ifindex,
  onlink: true,
  table: SOURCE_TABLE,
});

/** What has an address of the interface routed by source. */
export const sourceOperations = (ip: string, ifindex: number): Operation[] => [
  { op: "add", kind: "route", route: sourceRoute(familyOf(ip), ifindex) },
  { op: "add", kind: "rule", rule: sourceRule(ip) },
];

/** Takes our rules out of a sandbox; the routes go with their interface. @throws NetlinkError */
export function removeSourceRules(rtnl: Pick<Rtnl, "rules" | "executeAll">): void {
  const ours = rtnl.rules().filter(({ table, protocol }) => table === SOURCE_TABLE && protocol === ROUTE_PROTOCOL);
  const [failure] = rtnl
    .executeAll(ours.map((rule) => ({ op: "del", kind: "rule", rule })))
    .filter(({ error }) => error.code !== "ENOENT");
  if (failure) throw failure.error;
}
