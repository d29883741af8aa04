/**
 * Routing by source in a sandbox: what is sent from an interface's addresses goes by a table of its own, whose only routes are
 * default ones through that interface. The interface that a runtime asked for has one and the same table in all pods; one that found the
 * default route taken by another interface has a table of its own.
 *
 * A rule names no device and so does not go with one: it is taken away by itself.
 */
import { type Family, familyOf, hostPrefix } from "../../addr/index.ts";
import { type Operation, type Route, ROUTE_PROTOCOL, type Rtnl, type Rule } from "../../netlink/index.ts";
import { GATEWAY, hostIfname } from "./names.ts";

/** The table. Nothing else that makes routes in pods is known to use it; 253 to 255 are the kernel's (rt_tables). */
export const SOURCE_TABLE = 8300;
/** The first table of interfaces that have one of their own. */
const OWN_TABLES = 830_000_000;
/** Before the main table (32766), after the local one (0). */
const PRIORITY = 8300;

/** A table of an interface's own: one in a hundred million, the same whenever it is asked for. */
export const ownSourceTable = (containerId: string, ifname: string): number =>
  OWN_TABLES + (Number.parseInt(hostIfname(containerId, ifname).slice(3, 11), 16) % 100_000_000);

/** The rule of an address. */
export const sourceRule = (ip: string, table: number): Rule => ({
  family: familyOf(ip),
  priority: PRIORITY,
  table,
  src: hostPrefix(ip),
  protocol: ROUTE_PROTOCOL,
});

/** The table's route of a family. */
const sourceRoute = (family: Family, ifindex: number, table: number): Route => ({
  family,
  dst: "default",
  gateway: GATEWAY[family],
  ifindex,
  onlink: true,
  table,
});

/** What has an address of the interface routed by source. */
export const sourceOperations = (ip: string, ifindex: number, table: number): Operation[] => [
  { op: "add", kind: "route", route: sourceRoute(familyOf(ip), ifindex, table) },
  { op: "add", kind: "rule", rule: sourceRule(ip, table) },
];

/** Takes our rules for a table out of a sandbox; the routes go with their interface. @throws NetlinkError */
export function removeSourceRules(rtnl: Pick<Rtnl, "rules" | "executeAll">, table: number): void {
  const ours = rtnl.rules().filter((rule) => rule.table === table && rule.protocol === ROUTE_PROTOCOL);
  const [failure] = rtnl
    .executeAll(ours.map((rule) => ({ op: "del", kind: "rule", rule })))
    .filter(({ error }) => error.code !== "ENOENT");
  if (failure) throw failure.error;
}
