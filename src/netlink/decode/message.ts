/**
 * Datagrams of the kernel taken apart into messages, errors and events. Whatever is in them, the outcome is a value
 * or a {@link MalformedMessage}: never another exception and never a read behind the end.
 */
import { type NetlinkMessage, parseError, parseMessages, readS32 } from "netlink/dist/structs.js";
import {
  AF_BRIDGE,
  AF_INET,
  AF_INET6,
  AF_UNSPEC,
  FlagsAck,
  NETCONFA_IFINDEX,
  NLMSGERR_ATTR_MSG,
  RTM,
} from "../constants.ts";
import { MalformedMessage } from "../errors.ts";
import type { NetlinkEvent } from "../types.ts";
import { decodeAddress } from "./address.ts";
import { eachAttribute, need, text } from "./attributes.ts";
import { decodeBridgePort } from "./bridge.ts";
import { decodeLink } from "./link.ts";
import { decodeNeighbour } from "./neighbour.ts";
import { tcDevice } from "./qdisc.ts";
import { decodeRoute } from "./route.ts";
import { decodeRule } from "./rule.ts";

export type { NetlinkMessage } from "netlink/dist/structs.js";

const ERROR_HEADER = 4 + 16;

/** Runs a decoder and turns whatever it throws into a {@link MalformedMessage}. */
export function guarded<T>(what: string, decode: () => T): T {
  try {
    return decode();
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    throw new MalformedMessage(`the kernel's ${what} cannot be read: ${reason}`, { cause: error });
  }
}

/** The messages of one datagram. @throws MalformedMessage */
export const splitMessages = (datagram: Buffer): NetlinkMessage[] => guarded("datagram", () => parseMessages(datagram));

/** What an NLMSG_ERROR message says; errno 0 is an acknowledgement. */
export interface Acknowledgement {
  errno: number;
  extack?: string;
}

/** Reads an NLMSG_ERROR message. @throws MalformedMessage */
export function decodeError(message: NetlinkMessage): Acknowledgement {
  return guarded("acknowledgement", () => {
    const { errno, header } = parseError(message.data, message.flags);
    // The request follows its header unless the kernel was told to leave it out (NETLINK_CAP_ACK) or all was well.
    const capped = errno === 0 || (message.flags & FlagsAck.CAPPED) !== 0;
    const attributes = capped ? ERROR_HEADER : 4 + ((header.length + 3) & ~3);
    return { errno: Math.abs(errno), ...explanation(message, attributes) };
  });
}

/** The error with which a dump ended, if any: NLMSG_DONE carries one like NLMSG_ERROR does. @throws MalformedMessage */
export function decodeDone(message: NetlinkMessage): Acknowledgement {
  return guarded("end of a list", () => {
    if (message.data.length < 4) return { errno: 0 };
    const errno = readS32.call(message.data, 0);
    return errno < 0 ? { errno: -errno, ...explanation(message, 4) } : { errno: 0 };
  });
}

function explanation(message: NetlinkMessage, offset: number): { extack?: string } {
  if (!(message.flags & FlagsAck.ACK_TLVS) || offset >= message.data.length) return {};
  const found: { extack?: string } = {};
  eachAttribute(message.data, offset, (type, value) => {
    if (type === NLMSGERR_ATTR_MSG) found.extack = text(value);
  });
  return found;
}

/**
 * The event that a notification stands for; `undefined` for what is none of Skylane's business.
 * @throws MalformedMessage
 */
export function decodeEvent(message: NetlinkMessage): NetlinkEvent | undefined {
  return guarded("notification", () => {
    const { type, data } = message;
    switch (type) {
      case RTM.NEWLINK:
      case RTM.DELLINK: {
        const event = type === RTM.NEWLINK ? "new" : "del";
        // Of family AF_BRIDGE it speaks of a port: its deletion means that the device left its bridge, no more.
        const family = need(data, 1)[0];
        if (family === AF_BRIDGE) return { event, kind: "bridgePort", bridgePort: decodeBridgePort(data) };
        return family === AF_UNSPEC ? { event, kind: "link", link: decodeLink(data) } : undefined;
      }
      case RTM.NEWADDR:
      case RTM.DELADDR: {
        const address = decodeAddress(data);
        return address && { event: type === RTM.NEWADDR ? "new" : "del", kind: "address", address };
      }
      case RTM.NEWROUTE:
      case RTM.DELROUTE: {
        const route = decodeRoute(data);
        return route && { event: type === RTM.NEWROUTE ? "new" : "del", kind: "route", route };
      }
      case RTM.NEWNEIGH:
      case RTM.DELNEIGH: {
        const found = decodeNeighbour(data);
        return found && { event: type === RTM.NEWNEIGH ? "new" : "del", ...found };
      }
      case RTM.NEWRULE:
      case RTM.DELRULE: {
        const rule = decodeRule(data);
        return rule && { event: type === RTM.NEWRULE ? "new" : "del", kind: "rule", rule };
      }
      case RTM.NEWNETCONF:
        return decodeNetconf(data);
      case RTM.NEWQDISC:
      case RTM.NEWTFILTER:
        return { event: "new", kind: "tc", tc: { ifindex: tcDevice(data) } };
      case RTM.DELQDISC:
      case RTM.DELTFILTER:
        return { event: "del", kind: "tc", tc: { ifindex: tcDevice(data) } };
      default:
        return undefined;
    }
  });
}

/** struct netconfmsg is one byte, the family, and padded; what has changed is not read, only whose it is. */
function decodeNetconf(data: Buffer): NetlinkEvent | undefined {
  const family = need(data, 4)[0];
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  let ifindex: number | undefined;
  eachAttribute(data, 4, (type, value) => {
    if (type === NETCONFA_IFINDEX) ifindex = readS32.call(need(value, 4), 0);
  });
  if (ifindex === undefined) return undefined;
  return { event: "new", kind: "netconf", netconf: { family: family === AF_INET ? 4 : 6, ifindex } };
}
