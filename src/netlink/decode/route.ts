/**
 * Routes out of the kernel's messages (RTM_NEWROUTE, RTM_DELROUTE).
 */
import type { Family } from "../../addr/index.ts";
import { AF_INET, AF_INET6, RTA, RTAX_MTU, RTM_F_CLONED, RTNEXTHOP, RTNH_F_ONLINK } from "../constants.ts";
import type { Route } from "../types.ts";
import { eachAttribute, ip, need, u16At, u32, u32At } from "./attributes.ts";

/** Length of struct rtmsg. */
const HEADER = 12;

/**
 * A route with table, protocol, scope and type always filled in. `undefined` for other families and for cached
 * routes, which are no entry of any table. @throws MalformedMessage
 */
export function decodeRoute(data: Buffer): Route | undefined {
  need(data, HEADER);
  const af = data[0];
  const flags = u32At(data, 8);
  if ((af !== AF_INET && af !== AF_INET6) || flags & RTM_F_CLONED) return undefined;
  return readRoute(data, af === AF_INET ? 4 : 6, flags);
}

/** Like {@link decodeRoute} for the answer to a question, which IPv6 marks as cached. @throws MalformedMessage */
export function decodeRouteAnswer(data: Buffer): Route {
  need(data, HEADER);
  return readRoute(data, data[0] === AF_INET ? 4 : 6, u32At(data, 8));
}

function readRoute(data: Buffer, family: Family, flags: number): Route {
  const byte = (offset: number) => data[offset] as number;
  const prefix = byte(1);
  const route: Route = { family, dst: "default", table: byte(4), protocol: byte(5), scope: byte(6), type: byte(7) };
  if (flags & RTNH_F_ONLINK) route.onlink = true;
  eachAttribute(data, HEADER, (attributeType, value) => {
    switch (attributeType) {
      case RTA.DST:
        route.dst = `${ip(value)}/${prefix}`;
        break;
      case RTA.GATEWAY:
        route.gateway = ip(value);
        break;
      case RTA.VIA:
        route.gateway = ip(need(value, 2).subarray(2));
        break;
      case RTA.OIF:
        route.ifindex = u32(value);
        break;
      case RTA.PREFSRC:
        route.prefSrc = ip(value);
        break;
      case RTA.TABLE:
        route.table = u32(value);
        break;
      case RTA.PRIORITY:
        route.metric = u32(value);
        break;
      case RTA.MULTIPATH:
        route.multipath = true;
        route.hops = hops(value);
        break;
      case RTA.METRICS:
        eachAttribute(value, 0, (metric, number) => {
          if (metric === RTAX_MTU) route.mtu = u32(number);
        });
        break;
      default:
    }
  });
  return route;
}

/** Devices of the next hops: each a struct rtnexthop, whose length is that of its attributes, too. */
function hops(value: Buffer): number[] {
  const found: number[] = [];
  for (let at = 0; at + RTNEXTHOP <= value.length; ) {
    found.push(u32At(value, at + 4));
    const length = u16At(value, at);
    if (length < RTNEXTHOP) break;
    at += (length + 3) & ~3;
  }
  return found;
}
