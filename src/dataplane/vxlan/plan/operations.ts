/**
 * How the overlay's entries are compared, made and removed.
 *
 * What a new route relies on is there before the route (our own address as its source, then FDB, then neighbour, then route), so
 * that no packet ever finds a route without its neighbour; what goes, goes the other way round, and an address last, since a
 * replaced route must have left it before.
 *
 * Ours to remove on our device: every address, every FDB entry, every permanent neighbour, every route of our protocol number; on
 * other devices, direct routes of it. A route of another protocol stays, unless it stands exactly where one of ours belongs.
 *
 * A route to a pod is made by the plugin that attaches the pod, and is an entry of ours from when it is known whose the address is: put
 * by "replace", it is right already as a rule. It is never removed but for a vacancy: with its pod it goes by itself.
 */
import { addressBits, familyOf } from "../../../addr/index.ts";
import { type Operation, ROUTE_PROTOCOL } from "../../../netlink/index.ts";
import { entryKey, type EntryOperations } from "../../../reconcile/index.ts";
import { leadsToPod, type OverlayEntry } from "../desired/entries.ts";
import { type Actual, defaultMetric, isDirectRoute, MAIN_TABLE, type OnDevice, PERMANENT } from "./actual.ts";
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

export const overlayOperations: EntryOperations<OverlayEntry, Actual, OnDevice, Operation> = {
  order: ["address", "fdb", "neighbour", "route", "vacant"],

  keyOf(there) {
    switch (there.kind) {
      case "address": {
        const { ip, prefix } = there.address;
        // IPv6 has one entry an address, whatever its length; IPv4 has both at once.
        const own = familyOf(ip) === 6 || hasHostPrefix(there.address);
        return entryKey("address", own ? ip : `${ip}/${prefix}`);
      }
      case "fdb":
        return entryKey("fdb", there.fdb.mac);
      case "neighbour":
        return entryKey("neighbour", there.neighbour.ip);
      case "vacant":
        return entryKey("route", there.dst);
      default: {
        const { dst, metric, table = MAIN_TABLE } = there.route;
        return entryKey("route", hasPlaceOf(there.route) ? dst : `${dst} metric ${metric} table ${table}`);
      }
    }
  },

  isRight(entry, there, on) {
    if (entry.kind === "address") return there.kind === "address" && isRightAddress(there.address);
    if (entry.kind === "fdb") return there.kind === "fdb" && isRightFdb(entry, there.fdb, on);
    if (entry.kind === "neighbour") return there.kind === "neighbour" && isRightNeighbour(entry, there.neighbour);
    if (entry.kind === "vacant") return there.kind !== "route" || !isOwnRoute(there.route);
    return there.kind === "route" && isRightRoute(entry, there.route, on.ifindex);
  },

  applied(entry, { ifindex }) {
    switch (entry.kind) {
      case "address": {
        const { kind, ip } = entry;
        return { kind, address: { ifindex, ip, prefix: addressBits(familyOf(ip)), permanent: true } };
      }
      case "fdb": {
        const { kind, ...fdb } = entry;
        return { kind, fdb: { ifindex, state: PERMANENT, ...fdb } };
      }
      case "neighbour": {
        const { kind, ...neighbour } = entry;
        return { kind, neighbour: { ifindex, state: PERMANENT, ...neighbour } };
      }
      case "vacant":
        return entry;
      default: {
        const { kind, ...route } = entry;
        const { dst } = route;
        const onlink = route.gateway !== undefined && route.ifindex === undefined;
        const place = { family: familyOf(dst), table: MAIN_TABLE, metric: defaultMetric(dst) };
        return { kind, route: { ...place, ifindex, onlink, protocol: ROUTE_PROTOCOL, ...route } };
      }
    }
  },

  replaces: (_entry, there) => there.kind !== "address" || !isStubborn(there.address),

  put(entry, there, { ifindex }) {
    switch (entry.kind) {
      case "address":
        return { op: "replace", kind: "address", address: addressObject(ifindex, entry.ip) };
      case "fdb": {
        const { kind, ...fdb } = entry;
        return { op: "replace", kind, fdb: { ifindex, state: PERMANENT, ...fdb } };
      }
      case "vacant":
        return there?.kind === "route" ? { op: "del", kind: "route", route: there.route } : undefined;
      case "neighbour": {
        const { kind, ...neighbour } = entry;
        return { op: "replace", kind, neighbour: { ifindex, state: PERMANENT, ...neighbour } };
      }
      default:
        // "add" fails where somebody's route stands in the place on another device, which must not go unnoticed.
        return {
          op: there?.kind === "route" || leadsToPod(entry) ? "replace" : "add",
          kind: "route",
          route: routeObject(ifindex, entry),
        };
    }
  },

  remove(there, { ifindex }) {
    switch (there.kind) {
      case "address": {
        const { ip, prefix } = there.address;
        return { op: "del", kind: "address", address: { ifindex, ip, prefix } };
      }
      case "fdb":
        return { op: "del", kind: "fdb", fdb: there.fdb };
      case "neighbour": {
        if (!isMadeNeighbour(there.neighbour)) return undefined;
        return { op: "del", kind: "neighbour", neighbour: { ifindex, ip: there.neighbour.ip } };
      }
      case "vacant":
        return undefined;
      default: {
        const { route } = there;
        const ours = (isOwnRoute(route) && route.ifindex === ifindex) || isDirectRoute(route);
        return ours ? { op: "del", kind: "route", route } : undefined;
      }
    }
  },
};
