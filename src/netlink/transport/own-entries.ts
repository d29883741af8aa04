/**
 * Keeping back, in the kernel, the news of what a conversation of our own has made: neighbours on a device, and routes to prefixes over
 * it. The kernel writes into such news from which port they were asked for (nlmsg_pid), which is one socket's alone for as long as that is
 * open. FDB entries are announced without it (vxlan_fdb_notify). A route to a single address is told whoever makes it: it may take the place of one to a pod here.
 */
import { type FilterInstruction, LOAD_WORD, numberInFilter } from "../../sys/index.ts";
import { AF_INET, RTM } from "../constants.ts";

/** What is kept back: entries on this device that were asked for from this port. */
export interface OwnEntries {
  port: number;
  ifindex: number;
}

/** Places in a datagram: struct nlmsghdr, struct ndmsg, struct rtmsg and its attributes. */
const AT = { TYPE: 4, PORT: 12, NEIGHBOUR_IFINDEX: 20, FAMILY: 16, PREFIX: 17, ATTRIBUTES: 28 } as const;
const RTA_OIF = 4;
/** Opcodes, and the place that asks for an attribute's place (linux/filter.h: SKF_AD_OFF + SKF_AD_NLATTR). */
const LOAD = { WORD: LOAD_WORD, HALF: 0x28, BYTE: 0x30, NUMBER: 0x00, X: 0x01, WORD_AT_X: 0x40 } as const;
const [IF_EQUAL, GO, A_TO_X, RETURN] = [0x15, 0x05, 0x07, 0x06];
const ATTRIBUTE = (-0x1000 + 12) >>> 0;
const EVERYTHING = 0xffff_ffff;

/** A number of two bytes as a load finds it. */
const half = (value: number): number => numberInFilter(value) >>> 16;

/** A program that lets everything through but these. */
export const withoutOwn = (all: readonly OwnEntries[]): FilterInstruction[] => [
  ...all.flatMap(withoutOne),
  [RETURN, 0, 0, EVERYTHING],
];

/** Falls through to what follows for all but one's entries; each comparison says how many lines to pass over. */
function withoutOne({ port, ifindex }: OwnEntries): FilterInstruction[] {
  return [
    [LOAD.WORD, 0, 0, AT.PORT],
    [IF_EQUAL, 0, 19, numberInFilter(port)],
    [LOAD.HALF, 0, 0, AT.TYPE],
    [IF_EQUAL, 3, 0, half(RTM.NEWROUTE)],
    [IF_EQUAL, 0, 16, half(RTM.NEWNEIGH)],
    [LOAD.WORD, 0, 0, AT.NEIGHBOUR_IFINDEX],
    [GO, 0, 0, 12],
    // A route: to a single address?
    [LOAD.BYTE, 0, 0, AT.FAMILY],
    [IF_EQUAL, 0, 2, AF_INET],
    [LOAD.BYTE, 0, 0, AT.PREFIX],
    [IF_EQUAL, 10, 2, 32],
    [LOAD.BYTE, 0, 0, AT.PREFIX],
    [IF_EQUAL, 8, 0, 128],
    // Its device is an attribute; of a route that has several there is none, and its place is 0.
    [LOAD.NUMBER, 0, 0, AT.ATTRIBUTES],
    [LOAD.X, 0, 0, RTA_OIF],
    [LOAD.WORD, 0, 0, ATTRIBUTE],
    [IF_EQUAL, 4, 0, 0],
    [A_TO_X, 0, 0, 0],
    [LOAD.WORD_AT_X, 0, 0, 4],
    // Either's device.
    [IF_EQUAL, 0, 1, numberInFilter(ifindex)],
    [RETURN, 0, 0, 0],
  ];
}
