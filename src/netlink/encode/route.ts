/**
 * Routes as netlink messages (struct rtmsg, linux/rtnetlink.h).
 */
import { writeU16, writeU32 } from "netlink/dist/structs.js";
import { cidrOf, familyOf, ipToBytes } from "../../addr/index.ts";
import {
  AF_INET,
  AF_INET6,
  RT_SCOPE,
  RT_TABLE,
  RTA,
  RTAX_MTU,
  RTM_F_LOOKUP_TABLE,
  RTN,
  RTNEXTHOP,
  RTNH_F_ONLINK,
} from "../constants.ts";
import { ROUTE_PROTOCOL, type Route } from "../types.ts";
import type { MessageWriter } from "../transport/writer.ts";

/** Tables above 255 go into an attribute, since the structure has one byte for them. */
const TABLE_IN_HEADER = 255;

function rtmsg(
  w: MessageWriter,
  family: number,
  length: number,
  table: number,
  rest: readonly number[],
  flags: number,
  sourceLength = 0,
) {
  w.u8(family);
  w.u8(length);
  w.u8(sourceLength);
  w.u8(0);
  w.u8(table <= TABLE_IN_HEADER ? table : RT_TABLE.UNSPEC);
  for (const byte of rest) w.u8(byte);
  w.u32(flags);
}

/** The scope that the kernel wants when none is given; IPv6 has no scopes of routes. */
function defaultScope(r: Route): number {
  if (r.family === 6) return RT_SCOPE.UNIVERSE;
  if (r.type === RTN.LOCAL) return RT_SCOPE.HOST;
  return r.gateway === undefined && (r.type ?? RTN.UNICAST) === RTN.UNICAST ? RT_SCOPE.LINK : RT_SCOPE.UNIVERSE;
}

/**
 * The body of a message about a route. A deletion names the same protocol as an addition, Skylane's own unless said
 * otherwise, so that it cannot hit a route of somebody else with the same destination.
 */
export function route(w: MessageWriter, r: Route, deleting: boolean): void {
  const table = r.table ?? RT_TABLE.MAIN;
  const scope = r.scope ?? (deleting ? RT_SCOPE.NOWHERE : defaultScope(r));
  const type = r.type ?? (deleting ? RTN.UNSPEC : RTN.UNICAST);
  const prefix = r.dst === "default" ? 0 : cidrOf(r.dst).prefix;
  const rest = [r.protocol ?? ROUTE_PROTOCOL, scope, type];
  rtmsg(w, r.family === 4 ? AF_INET : AF_INET6, prefix, table, rest, r.onlink ? RTNH_F_ONLINK : 0);
  if (prefix > 0) w.attribute(RTA.DST, ipToBytes(r.dst.slice(0, r.dst.indexOf("/"))));
  if (r.gateway !== undefined) gateway(w, r.family, r.gateway);
  if (r.ifindex !== undefined) w.attributeU32(RTA.OIF, r.ifindex);
  if (r.hops !== undefined) w.attribute(RTA.MULTIPATH, Buffer.concat(r.hops.map(nextHop)));
  if (r.prefSrc !== undefined) w.attribute(RTA.PREFSRC, ipToBytes(r.prefSrc));
  if (r.metric !== undefined) w.attributeU32(RTA.PRIORITY, r.metric);
  if (table > TABLE_IN_HEADER) w.attributeU32(RTA.TABLE, table);
  const { mtu } = r;
  if (mtu !== undefined) w.nest(RTA.METRICS, () => w.attributeU32(RTAX_MTU, mtu));
}

/** struct rtnexthop of a device and nothing else: length, flags, weight less one, index. */
function nextHop(ifindex: number): Buffer {
  const bytes = Buffer.alloc(RTNEXTHOP);
  writeU16.call(bytes, RTNEXTHOP, 0);
  writeU32.call(bytes, ifindex, 4);
  return bytes;
}

/** A gateway of the other family is given with its family (RTA_VIA, RFC 5549). */
function gateway(w: MessageWriter, family: 4 | 6, ip: string): void {
  const bytes = ipToBytes(ip);
  if (familyOf(ip) === family) return w.attribute(RTA.GATEWAY, bytes);
  const via = Buffer.alloc(2 + bytes.length);
  writeU16.call(via, familyOf(ip) === 4 ? AF_INET : AF_INET6, 0);
  via.set(bytes, 2);
  w.attribute(RTA.VIA, via);
}

/**
 * The body of the question which route a packet to `ip` would take, sent `from` an address of the host where one is given. IPv6 always answers with the table in which it
 * found the route and refuses to be asked for it.
 */
export function routeQuestion(w: MessageWriter, ip: string, from?: string): void {
  const bytes = ipToBytes(ip);
  const ipv4 = bytes.length === 4;
  const bits = bytes.length * 8;
  rtmsg(w, ipv4 ? AF_INET : AF_INET6, bits, 0, [0, 0, 0], ipv4 ? RTM_F_LOOKUP_TABLE : 0, from === undefined ? 0 : bits);
  w.attribute(RTA.DST, bytes);
  if (from !== undefined) w.attribute(RTA.SRC, ipToBytes(from));
}

/** The body of a dump of routes; what is given is filtered by the kernel. */
export function routeFilter(
  w: MessageWriter,
  f: { family: number; table?: number; protocol?: number; ifindex?: number },
): void {
  const table = f.table ?? RT_TABLE.UNSPEC;
  rtmsg(w, f.family, 0, table, [f.protocol ?? 0, 0, 0], 0);
  if (table > TABLE_IN_HEADER) w.attributeU32(RTA.TABLE, table);
  if (f.ifindex !== undefined) w.attributeU32(RTA.OIF, f.ifindex);
}
