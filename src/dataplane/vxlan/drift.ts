/**
 * Whether a notification speaks against what we believe. Our own changes come back as notifications too; they show
 * what is desired, so they say nothing new, and no bookkeeping of "our own" messages is needed. Whatever shows
 * something else on our device, or one of our entries going, is a doubt, and a doubt ends in a look at the kernel.
 */
import type { Link, NetlinkEvent } from "../../netlink/index.ts";
import { isDirectRoute, MAIN_TABLE } from "./plan/actual.ts";
import {
  fixedDifferences,
  hasPlaceOf,
  isMadeNeighbour,
  isOwnRoute,
  isRightAddress,
  isRightFdb,
  isRightNeighbour,
  isRightRoute,
  liveDifferences,
} from "./plan/match.ts";
import { type DesiredState, type EntryKind, entryKey } from "../../peers/index.ts";

/** A notification that does not fit the desired state. */
export interface Doubt {
  kind: EntryKind | "device";
  /** The entry's key; the device's name for the device. */
  key: string;
}

/** Looks at one notification. `ifindex` is our device's, undefined while there is none. */
export function doubtOf(desired: DesiredState, ifindex: number | undefined, event: NetlinkEvent): Doubt | undefined {
  const gone = event.event === "del";
  const doubt = (kind: EntryKind, id: string): Doubt => ({ kind, key: entryKey(kind, id) });
  if (event.kind === "link") return deviceDoubt(desired, ifindex, event.link, gone);
  if (event.kind === "route") {
    const { route } = event;
    if ((route.table ?? MAIN_TABLE) !== MAIN_TABLE) return undefined;
    const wanted = desired.routes.get(route.dst);
    if (!wanted) {
      const ours = (isOwnRoute(route) && route.ifindex === ifindex) || isDirectRoute(route);
      return !gone && ours ? doubt("route", route.dst) : undefined;
    }
    const fine = !gone && ifindex !== undefined && isRightRoute(wanted, route, ifindex);
    return fine || !hasPlaceOf(route) ? undefined : doubt("route", route.dst);
  }
  if (ifindex === undefined) return undefined;
  if (event.kind === "address") {
    const { address } = event;
    if (address.ifindex !== ifindex) return undefined;
    if (!desired.addresses.has(address.ip)) return gone ? undefined : doubt("address", address.ip);
    return !gone && isRightAddress(address) ? undefined : doubt("address", address.ip);
  }
  if (event.kind === "neighbour") {
    const { neighbour } = event;
    if (neighbour.ifindex !== ifindex) return undefined;
    const wanted = desired.neighbours.get(neighbour.ip);
    if (!wanted) return gone || !isMadeNeighbour(neighbour) ? undefined : doubt("neighbour", neighbour.ip);
    return !gone && isRightNeighbour(wanted, neighbour) ? undefined : doubt("neighbour", neighbour.ip);
  }
  if (event.kind !== "fdb") return undefined;
  const { fdb } = event;
  if (fdb.ifindex !== ifindex) return undefined;
  const wanted = desired.fdb.get(fdb.mac);
  if (!wanted) return gone ? undefined : doubt("fdb", fdb.mac);
  return !gone && isRightFdb(wanted, fdb, desired.device) ? undefined : doubt("fdb", fdb.mac);
}

function deviceDoubt(
  { device, routes }: DesiredState,
  ifindex: number | undefined,
  link: Link,
  gone: boolean,
): Doubt | undefined {
  const doubt: Doubt = { kind: "device", key: device.name };
  if (link.index === ifindex) {
    const fine =
      !gone &&
      link.name === device.name &&
      link.up &&
      fixedDifferences(device, link).length === 0 &&
      Object.keys(liveDifferences(device, link)).length === 0;
    return fine ? undefined : doubt;
  }
  // With an interface that goes down the kernel removes IPv4 routes and says nothing about them.
  if (routes.values().some((route) => route.ifindex === link.index)) return { kind: "device", key: link.name };
  // While we have no device, another one with its name or its VNI may be the obstacle that just went.
  const concerns = link.name === device.name || link.vxlan?.vni === device.vni;
  return concerns && (ifindex === undefined || link.name === device.name) ? doubt : undefined;
}
