/**
 * Actual state: what the kernel holds on our VXLAN device, read anew each time, and of other devices the direct routes to peers, and
 * those to single addresses that are decided here. Other host routes to pods carry the same protocol number, but have no gateway, and
 * are none of this planner's business (see host-ends/host-ends.ts).
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import {
  type Address,
  type FdbEntry,
  type Neighbour,
  type Route,
  ROUTE_PROTOCOL,
  type Rtnl,
} from "../../../netlink/index.ts";
import { familyOf } from "../../../addr/index.ts";

/** The routing table of ordinary routes (RT_TABLE_MAIN). */
export const MAIN_TABLE = 254;
/** NUD_PERMANENT, linux/neighbour.h: never aged, never probed. */
export const PERMANENT = 0x80;
/** Priority of routes made without one: the kernel turns 0 into 1024 for IPv6. */
export const defaultMetric = (dst: string): number => (familyOf(dst) === 4 ? 0 : 1024);

/** Whether a route of any device is one to a peer's pods without encapsulation: of our protocol, through a gateway on the link. */
export const isDirectRoute = ({ protocol, gateway, onlink, table }: Route): boolean =>
  protocol === ROUTE_PROTOCOL && gateway !== undefined && onlink !== true && (table ?? MAIN_TABLE) === MAIN_TABLE;

/** The device that entries lie on. */
export interface OnDevice {
  ifindex: number;
  /** VNI and port of the device, which the kernel leaves out of FDB entries that have the same. */
  vni: number;
  port: number;
}

/** Something that the kernel holds. */
export type Held =
  | { kind: "address"; address: Address }
  | { kind: "fdb"; fdb: FdbEntry }
  | { kind: "neighbour"; neighbour: Neighbour }
  /** Of the main table: of the device, whoever made it, a direct one, or one to a pod. */
  | { kind: "route"; route: Route };

/** The same, or that it holds nothing where nothing shall be. */
export type Actual = Held | { kind: "vacant"; dst: string };

/** What was read, each kind for itself. */
export interface ActualState {
  addresses: readonly Address[];
  fdb: readonly FdbEntry[];
  neighbours: readonly Neighbour[];
  routes: readonly Route[];
}

/**
 * Dumps a device, letting the event loop turn between the dumps.
 * @param others which routes of other devices count, where any do: they take a look at all routes
 * @throws NetlinkError
 */
export async function readActual(
  rtnl: Pick<Rtnl, "addresses" | "fdb" | "neighbours" | "routes">,
  { ifindex }: OnDevice,
  others: ((route: Route) => boolean) | undefined,
): Promise<Iterable<Held>> {
  const addresses = rtnl.addresses({ ifindex });
  const fdb = rtnl.fdb({ ifindex });
  await nextTurn();
  const neighbours = rtnl.neighbours({ ifindex });
  await nextTurn();
  const counts = (route: Route): boolean =>
    route.ifindex === ifindex || route.multipath === true || others?.(route) === true;
  const routes = others
    ? rtnl.routes({ table: MAIN_TABLE }).filter(counts)
    : rtnl.routes({ ifindex, table: MAIN_TABLE });
  return allOf({ addresses, fdb, neighbours, routes });
}

/** All that was read, one after the other. */
export function* allOf({ addresses, fdb, neighbours, routes }: ActualState): Generator<Held> {
  for (const address of addresses) yield { kind: "address", address };
  for (const entry of fdb) yield { kind: "fdb", fdb: entry };
  for (const neighbour of neighbours) yield { kind: "neighbour", neighbour };
  for (const route of routes) yield { kind: "route", route };
}
