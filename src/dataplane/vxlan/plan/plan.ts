/**
 * The plan: the operations that turn what the kernel holds into what it should hold, and no other.
 *
 * Order keeps packets flowing while it is carried out. What a new route relies on is there before the route (our
 * own address as its source, then FDB, then neighbour, then route), so that no packet ever finds a route
 * without its neighbour; what goes, goes the other way round; all removals come after all additions, since a
 * replaced route must have left an address before the address goes. Entries that change are replaced in place,
 * never deleted and added.
 *
 * Ours to remove on our device: every address, every FDB entry, every permanent
 * neighbour, every route of our protocol number; on other devices, direct routes of it. A route of another protocol stays, unless it stands
 * exactly where one of ours belongs.
 */
import type { Operation, Route } from "../../../netlink/index.ts";
import type { ActualState } from "./actual.ts";
import { PERMANENT } from "./actual.ts";
import {
  addressObject,
  hasHostPrefix,
  hasPlaceOf,
  isMadeNeighbour,
  isOwnRoute,
  isRightAddress,
  isRightFdb,
  isRightNeighbour,
  isRightRoute,
  isStubborn,
  routeObject,
} from "./match.ts";
import type { DesiredState } from "../../../peers/index.ts";

/** Additions and removals of one kind. */
interface Part {
  put: Operation[];
  remove: Operation[];
}

/** Plans the entries of a device that exists; empty when everything is as it should be. */
export function plan(desired: DesiredState, actual: ActualState): Operation[] {
  const addresses = planAddresses(desired, actual);
  const fdb = planFdb(desired, actual);
  const neighbours = planNeighbours(desired, actual);
  const routes = planRoutes(desired, actual);
  return [
    ...addresses.put,
    ...fdb.put,
    ...neighbours.put,
    ...routes.put,
    ...routes.remove,
    ...neighbours.remove,
    ...fdb.remove,
    ...addresses.remove,
  ];
}

function planAddresses(desired: DesiredState, { ifindex, addresses }: ActualState): Part {
  const part: Part = { put: [], remove: [] };
  const missing = new Set(desired.addresses.keys());
  for (const address of addresses) {
    const { ip, prefix } = address;
    const remove: Operation = { op: "del", kind: "address", address: { ifindex, ip, prefix } };
    if (!desired.addresses.has(ip)) part.remove.push(remove);
    else if (isRightAddress(address)) missing.delete(ip);
    // IPv6 has one entry an address, whatever its length, so a wrong one must go before the right one can come. IPv4
    // has both at once, and the routes that rely on the address stay when the wrong one goes last.
    else if (isStubborn(address)) part.put.push(remove);
    else if (!hasHostPrefix(address)) part.remove.push(remove);
  }
  for (const ip of missing) part.put.push({ op: "replace", kind: "address", address: addressObject(ifindex, ip) });
  return part;
}

function planFdb(desired: DesiredState, { ifindex, vni, port, fdb }: ActualState): Part {
  const part: Part = { put: [], remove: [] };
  const missing = new Set(desired.fdb.keys());
  for (const entry of fdb) {
    const wanted = desired.fdb.get(entry.mac);
    if (wanted === undefined) part.remove.push({ op: "del", kind: "fdb", fdb: entry });
    else if (isRightFdb(wanted, entry, { vni, port })) missing.delete(entry.mac);
  }
  for (const mac of missing) {
    const wanted = desired.fdb.get(mac);
    if (wanted) part.put.push({ op: "replace", kind: "fdb", fdb: { ifindex, state: PERMANENT, ...wanted } });
  }
  return part;
}

function planNeighbours(desired: DesiredState, { ifindex, neighbours }: ActualState): Part {
  const part: Part = { put: [], remove: [] };
  const missing = new Set(desired.neighbours.keys());
  for (const entry of neighbours) {
    const wanted = desired.neighbours.get(entry.ip);
    if (wanted !== undefined) {
      if (isRightNeighbour(wanted, entry)) missing.delete(entry.ip);
    } else if (isMadeNeighbour(entry)) {
      part.remove.push({ op: "del", kind: "neighbour", neighbour: { ifindex, ip: entry.ip } });
    }
  }
  for (const ip of missing) {
    const wanted = desired.neighbours.get(ip);
    if (wanted)
      part.put.push({ op: "replace", kind: "neighbour", neighbour: { ifindex, state: PERMANENT, ...wanted } });
  }
  return part;
}

function planRoutes(desired: DesiredState, { ifindex, routes }: ActualState): Part {
  const part: Part = { put: [], remove: [] };
  const right = new Set<string>();
  /** Routes in the place of one of ours that are not it. */
  const wrong = new Map<string, Route[]>();
  for (const route of routes) {
    const wanted = desired.routes.get(route.dst);
    if (wanted && isRightRoute(wanted, route, ifindex) && !right.has(route.dst)) right.add(route.dst);
    else if (wanted && hasPlaceOf(route)) wrong.set(route.dst, [...(wrong.get(route.dst) ?? []), route]);
    else if (isOwnRoute(route)) part.remove.push({ op: "del", kind: "route", route });
  }
  for (const [dst, wanted] of desired.routes) {
    const inPlace = wrong.get(dst) ?? [];
    if (right.has(dst)) {
      for (const route of inPlace.filter(isOwnRoute)) part.remove.push({ op: "del", kind: "route", route });
      continue;
    }
    // "add" fails where somebody's route stands in the place on another device, which must not go unnoticed.
    const op = inPlace.length > 0 ? "replace" : "add";
    part.put.push({ op, kind: "route", route: routeObject(ifindex, wanted) });
    for (const route of inPlace.slice(1).filter(isOwnRoute)) part.remove.push({ op: "del", kind: "route", route });
  }
  return part;
}
