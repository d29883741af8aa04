/**
 * What can be asked of rtnetlink. Filters are given to the kernel, which heeds them since Linux 4.20, and applied
 * again here for older ones.
 */
import { FAMILIES, type Family } from "../../addr/index.ts";
import type { Connection } from "./connection.ts";
import {
  AF_BRIDGE,
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  IFLA,
  NDA,
  NETNSA,
  RT_TABLE,
  RTEXT_FILTER_SKIP_STATS,
  RTM,
  TC_H,
} from "../constants.ts";
import { eachAttribute, u32 } from "../decode/attributes.ts";
import { decodeAddress } from "../decode/address.ts";
import { decodeLink } from "../decode/link.ts";
import { decodeNeighbour } from "../decode/neighbour.ts";
import { decodeParameters } from "../decode/parameters.ts";
import { decodeFilter, decodeQdisc } from "../decode/qdisc.ts";
import { decodeRoute, decodeRouteAnswer } from "../decode/route.ts";
import { decodeRule } from "../decode/rule.ts";
import { dump, get } from "./dump.ts";
import { ifinfomsg } from "../encode/link.ts";
import { tcmsg } from "../encode/qdisc.ts";
import { ndmsg } from "../encode/neighbour.ts";
import { routeFilter, routeQuestion } from "../encode/route.ts";
import { ruleHeader } from "../encode/rule.ts";
import { MalformedMessage } from "../errors.ts";
import type {
  Address,
  BridgeFdbEntry,
  DeviceParameters,
  FdbEntry,
  Filter,
  FilterSide,
  Link,
  Neighbour,
  Qdisc,
  Route,
  Rule,
} from "../types.ts";

/** A device that is gone has nothing to be listed; a table without routes does not exist. */
const NOTHING_THERE = ["ENODEV", "ENOENT"];
const NAME_MAXIMUM = 15;

const afOf = (family: Family | undefined): number =>
  family === undefined ? AF_UNSPEC : family === 4 ? AF_INET : AF_INET6;

/** Everything that the kernel says of all devices, read in one of two ways. */
const ofLinks = <T>(connection: Connection, doing: string, decode: (data: Buffer) => T): T[] =>
  dump(connection, {
    doing,
    type: RTM.GETLINK,
    body: (w) => {
      ifinfomsg(w, 0);
      w.attributeU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    },
    decode,
  });

export const links = (connection: Connection): Link[] => ofLinks(connection, "listing links", decodeLink);

/** The kernel parameters of all devices, in one question. */
export const parameters = (connection: Connection): DeviceParameters[] =>
  ofLinks(connection, "listing kernel parameters of links", decodeParameters);

export function link(connection: Connection, nameOrIndex: string | number): Link | undefined {
  if (typeof nameOrIndex === "string" && (nameOrIndex === "" || Buffer.byteLength(nameOrIndex) > NAME_MAXIMUM)) {
    return undefined;
  }
  if (typeof nameOrIndex === "number" && nameOrIndex <= 0) return undefined;
  return get(connection, {
    doing: `reading link ${nameOrIndex}`,
    type: RTM.GETLINK,
    body: (w) => {
      ifinfomsg(w, typeof nameOrIndex === "number" ? nameOrIndex : 0);
      if (typeof nameOrIndex === "string") w.attributeString(IFLA.IFNAME, nameOrIndex);
      w.attributeU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
    },
    decode: decodeLink,
    none: ["ENODEV"],
  });
}

/** The device with an index in the namespace that this one knows by a number ({@link Link.peerNetnsId}). */
export function linkThere(connection: Connection, netnsId: number, index: number): Link | undefined {
  return get(connection, {
    doing: `reading link ${index} of network namespace ${netnsId}`,
    type: RTM.GETLINK,
    body: (w) => {
      ifinfomsg(w, index);
      w.attributeU32(IFLA.EXT_MASK, RTEXT_FILTER_SKIP_STATS);
      w.attributeU32(IFLA.TARGET_NETNSID, netnsId);
    },
    decode: decodeLink,
    // EINVAL: the namespace has gone, and its number with it.
    none: ["ENODEV", "EINVAL"],
  });
}

export function addresses(connection: Connection, filter: { family?: Family; ifindex?: number }): Address[] {
  const { family, ifindex } = filter;
  const found = dump(connection, {
    doing: "listing addresses",
    type: RTM.GETADDR,
    body: (w) => {
      w.u8(afOf(family));
      w.u8(0);
      w.u8(0);
      w.u8(0);
      w.u32(ifindex ?? 0);
    },
    decode: decodeAddress,
    none: NOTHING_THERE,
  });
  return ifindex === undefined ? found : found.filter((address) => address.ifindex === ifindex);
}

export function routes(
  connection: Connection,
  filter: { family?: Family; table?: number; protocol?: number; ifindex?: number },
): Route[] {
  const { family, ...rest } = filter;
  const wanted = (route: Route) =>
    (filter.table === undefined ? route.table !== RT_TABLE.LOCAL : route.table === filter.table) &&
    (filter.protocol === undefined || route.protocol === filter.protocol) &&
    (filter.ifindex === undefined || route.ifindex === filter.ifindex);
  return (family === undefined ? FAMILIES : [family]).flatMap((each) =>
    dump(connection, {
      doing: `listing IPv${each} routes`,
      type: RTM.GETROUTE,
      body: (w) => routeFilter(w, { ...rest, family: afOf(each) }),
      decode: (data) => {
        const route = decodeRoute(data);
        return route && wanted(route) ? route : undefined;
      },
      none: NOTHING_THERE,
    }),
  );
}

export function neighbours(connection: Connection, filter: { family?: Family; ifindex?: number }): Neighbour[] {
  const { family, ifindex } = filter;
  return dump(connection, {
    doing: "listing neighbours",
    type: RTM.GETNEIGH,
    body: (w) => {
      ndmsg(w, afOf(family), 0, 0, 0);
      if (ifindex !== undefined) w.attributeU32(NDA.IFINDEX, ifindex);
    },
    decode: (data) => {
      const found = decodeNeighbour(data);
      if (found?.kind !== "neighbour") return undefined;
      return ifindex === undefined || found.neighbour.ifindex === ifindex ? found.neighbour : undefined;
    },
    none: NOTHING_THERE,
  });
}

export function fdb(connection: Connection, ifindex: number): FdbEntry[] {
  return dump(connection, {
    doing: "listing FDB entries",
    type: RTM.GETNEIGH,
    body: (w) => ndmsg(w, AF_BRIDGE, ifindex, 0, 0),
    decode: (data) => {
      const found = decodeNeighbour(data);
      return found?.kind === "fdb" && found.fdb.ifindex === ifindex ? found.fdb : undefined;
    },
    none: NOTHING_THERE,
  });
}

export function bridgeFdb(connection: Connection, master: number): BridgeFdbEntry[] {
  return dump(connection, {
    doing: "listing FDB entries of a bridge",
    type: RTM.GETNEIGH,
    body: (w) => {
      ndmsg(w, AF_BRIDGE, 0, 0, 0);
      w.attributeU32(NDA.MASTER, master);
    },
    decode: (data) => {
      const found = decodeNeighbour(data);
      return found?.kind === "bridgeFdb" && found.bridgeFdb.master === master ? found.bridgeFdb : undefined;
    },
    none: NOTHING_THERE,
  });
}

export function rules(connection: Connection, family: Family | undefined): Rule[] {
  return dump(connection, {
    doing: "listing rules",
    type: RTM.GETRULE,
    body: (w) => ruleHeader(w, { family: afOf(family) }),
    decode: (data) => {
      const rule = decodeRule(data);
      return rule && (family === undefined || rule.family === family) ? rule : undefined;
    },
  });
}

export function qdiscs(connection: Connection): Qdisc[] {
  return dump(connection, {
    doing: "listing queueing disciplines",
    type: RTM.GETQDISC,
    body: (w) => tcmsg(w, {}),
    decode: decodeQdisc,
  });
}

export function filters(connection: Connection, ifindex: number, side: FilterSide): Filter[] {
  return dump(connection, {
    doing: `listing filters of device ${ifindex}`,
    type: RTM.GETTFILTER,
    body: (w) => tcmsg(w, { ifindex, parent: side === "sends" ? TC_H.EGRESS_FILTERS : TC_H.INGRESS_FILTERS }),
    decode: decodeFilter,
    // EINVAL: there is nothing for filters to hang on.
    none: [...NOTHING_THERE, "EINVAL"],
  });
}

export function routeTo(connection: Connection, ip: string, from?: string): Route {
  const route = get(connection, {
    doing: `looking up the route to ${ip}`,
    type: RTM.GETROUTE,
    body: (w) => routeQuestion(w, ip, from),
    decode: decodeRouteAnswer,
  });
  if (!route) throw new MalformedMessage(`the kernel did not answer with a route when asked for the one to ${ip}`);
  return route;
}

/** Length of struct rtgenmsg with its padding. */
const RTGENMSG = 4;

export function netnsId(connection: Connection, fd: number): number | undefined {
  return get(connection, {
    doing: "asking for a namespace's identifier",
    type: RTM.GETNSID,
    body: (w) => {
      w.u32(AF_UNSPEC);
      w.attributeU32(NETNSA.FD, fd);
    },
    decode: (data) => {
      let id: number | undefined;
      eachAttribute(data, RTGENMSG, (type, value) => {
        // Signed: -1 is a namespace that has none here.
        if (type === NETNSA.NSID && (u32(value) | 0) >= 0) id = u32(value);
      });
      return id;
    },
  });
}
