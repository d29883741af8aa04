/**
 * Actual state: what the kernel holds on our VXLAN device, read anew each time, and the direct routes to peers on other
 * devices. Host routes to pods carry the same protocol number, but have no gateway, and are none of this planner's business.
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
import { addressBits, familyOf } from "../../../addr/index.ts";
import { type DesiredState, type EntryKind, entryKey } from "../../../peers/index.ts";

/** The routing table of ordinary routes (RT_TABLE_MAIN). */
export const MAIN_TABLE = 254;
/** NUD_PERMANENT, linux/neighbour.h: never aged, never probed. */
export const PERMANENT = 0x80;
/** Priority of routes made without one: the kernel turns 0 into 1024 for IPv6. */
export const defaultMetric = (dst: string): number => (familyOf(dst) === 4 ? 0 : 1024);

/** Whether a route of any device is one to a peer's pods without encapsulation: of our protocol, through a gateway on the link. */
export const isDirectRoute = ({ protocol, gateway, onlink, table }: Route): boolean =>
  protocol === ROUTE_PROTOCOL && gateway !== undefined && onlink !== true && (table ?? MAIN_TABLE) === MAIN_TABLE;

/** What is on one device. */
export interface ActualState {
  ifindex: number;
  /** VNI and port of the device, which the kernel leaves out of FDB entries that have the same. */
  vni: number;
  port: number;
  addresses: Address[];
  fdb: FdbEntry[];
  neighbours: Neighbour[];
  /** Routes of the main table: of the device, whoever made them, and direct ones. */
  routes: Route[];
}

/**
 * Dumps a device, letting the event loop turn between the dumps.
 * @param direct whether there may be direct routes: they take a look at all routes of ours
 * @throws NetlinkError
 */
export async function readActual(
  rtnl: Pick<Rtnl, "addresses" | "fdb" | "neighbours" | "routes">,
  device: { ifindex: number; vni: number; port: number },
  direct: boolean,
): Promise<ActualState> {
  const { ifindex } = device;
  const addresses = rtnl.addresses({ ifindex });
  const fdb = rtnl.fdb({ ifindex });
  await nextTurn();
  const neighbours = rtnl.neighbours({ ifindex });
  await nextTurn();
  const routes = rtnl.routes({ ifindex, table: MAIN_TABLE });
  if (direct) {
    await nextTurn();
    for (const route of rtnl.routes({ protocol: ROUTE_PROTOCOL, table: MAIN_TABLE })) {
      if (route.ifindex !== ifindex && isDirectRoute(route)) routes.push(route);
    }
  }
  return { ...device, addresses, fdb, neighbours, routes };
}

/**
 * What a dump would show after `state` was applied, but for the entries in `without`: lets the same planner work out
 * a change of peers without reading their entries, while no notification has spoken against it.
 */
export function assumedActual(
  state: DesiredState,
  device: { ifindex: number; vni: number; port: number },
  without: ReadonlySet<string>,
): ActualState {
  const { ifindex } = device;
  const there = <T>(kind: EntryKind, entries: ReadonlyMap<string, T>): T[] => {
    if (without.size === 0) return [...entries.values()];
    return [...entries].flatMap(([id, entry]) => (without.has(entryKey(kind, id)) ? [] : [entry]));
  };
  return {
    ...device,
    addresses: there("address", state.addresses).map(({ ip }) => ({
      ifindex,
      ip,
      prefix: addressBits(familyOf(ip)),
      permanent: true,
    })),
    fdb: there("fdb", state.fdb).map((entry) => ({ ifindex, state: PERMANENT, ...entry })),
    neighbours: there("neighbour", state.neighbours).map((entry) => ({ ifindex, state: PERMANENT, ...entry })),
    routes: there("route", state.routes).map((entry) => ({
      family: familyOf(entry.dst),
      ifindex,
      onlink: entry.gateway !== undefined && entry.ifindex === undefined,
      table: MAIN_TABLE,
      protocol: ROUTE_PROTOCOL,
      metric: defaultMetric(entry.dst),
      ...entry,
    })),
  };
}
