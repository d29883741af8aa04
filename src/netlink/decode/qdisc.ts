/**
 * Queueing disciplines and filters out of the kernel's messages (RTM_NEWQDISC, RTM_NEWTFILTER).
 */
import { readS32 } from "netlink/dist/structs.js";
import {
  MATCH_ALL,
  TC_ACT_STOLEN,
  TC_H,
  TCA,
  TCA_ACT,
  TCA_BPF,
  TCA_EGRESS_REDIR,
  TCA_MIRRED_PARMS,
  TCA_TBF,
} from "../constants.ts";
import type { Filter, Qdisc, TokenBucket } from "../types.ts";
import { eachAttribute, need, text, u32At } from "./attributes.ts";

/** Length of struct tcmsg, and where in it the device, the handle, the parent and the rest are. */
const HEADER = 20;
const [IFINDEX, HANDLE, PARENT, INFO] = [4, 8, 12, 16];
/** struct tc_tbf_qopt: rate.rate, limit, buffer. */
const [RATE, LIMIT, BUFFER, TBF_LENGTH] = [8, 24, 28, 36];
/** A tick of the kernel's clock of packets, in seconds (PSCHED_SHIFT, include/net/pkt_sched.h). */
const TICK = 64e-9;
/** struct tc_mirred: tc_gen.action, eaction, ifindex. */
const [ACTION, EACTION, TO, MIRRED_LENGTH] = [8, 20, 24, 28];

/** The device that a message about traffic control is about. @throws MalformedMessage */
export const tcDevice = (data: Buffer): number => u32At(data, IFINDEX);

/** What a message is about, and what it says of that kind alone. */
function kindOf(data: Buffer): { kind?: string; options?: Buffer } {
  const found: { kind?: string; options?: Buffer } = {};
  eachAttribute(data, HEADER, (type, value) => {
    if (type === TCA.KIND) found.kind = text(value);
    else if (type === TCA.OPTIONS) found.options = value;
  });
  return found;
}

/** `undefined` for one without a kind. @throws MalformedMessage */
export function decodeQdisc(data: Buffer): Qdisc | undefined {
  const parent = u32At(data, PARENT);
  const { kind, options } = kindOf(data);
  if (kind === undefined) return undefined;
  const at = parent === TC_H.ROOT ? "root" : parent === TC_H.INGRESS ? "ingress" : "class";
  const bucket = kind === "tbf" && options ? decodeBucket(options) : undefined;
  return { ifindex: tcDevice(data), kind, handle: u32At(data, HANDLE), at, ...(bucket && { bucket }) };
}

function decodeBucket(options: Buffer): TokenBucket | undefined {
  let found: { rate: number; limit: number; ticks: number } | undefined;
  let rate64: number | undefined;
  eachAttribute(options, 0, (type, value) => {
    if (type === TCA_TBF.PARMS) {
      need(value, TBF_LENGTH);
      found = { rate: u32At(value, RATE), limit: u32At(value, LIMIT), ticks: u32At(value, BUFFER) };
    } else if (type === TCA_TBF.RATE64) rate64 = u32At(value, 0) + 2 ** 32 * u32At(value, 4);
  });
  if (!found) return undefined;
  const rate = rate64 ?? found.rate;
  return { rate, burst: Math.round(found.ticks * TICK * rate), limit: found.limit };
}

/** `undefined` for what only says that there are filters of a priority. @throws MalformedMessage */
export function decodeFilter(data: Buffer): Filter | undefined {
  if (u32At(data, HANDLE) === 0) return undefined;
  const { kind, options } = kindOf(data);
  if (kind === undefined) return undefined;
  const to = kind === "bpf" && options ? redirection(options) : undefined;
  const program = kind === "bpf" && options ? programOf(options) : undefined;
  const priority = u32At(data, INFO) >>> 16;
  return {
    ifindex: tcDevice(data),
    priority,
    kind,
    ...(to !== undefined && { redirectsTo: to }),
    ...(program && { program }),
  };
}

/** The eBPF program that a classifier `bpf` runs. */
function programOf(options: Buffer): Filter["program"] {
  let name = "";
  let id: number | undefined;
  eachAttribute(options, 0, (type, value) => {
    if (type === TCA_BPF.NAME) name = text(value);
    else if (type === TCA_BPF.ID) id = u32At(value, 0);
  });
  return id === undefined ? undefined : { name, id };
}

/** The device to which a classifier `bpf` hands all packets. */
function redirection(options: Buffer): number | undefined {
  let all = false;
  let to: number | undefined;
  eachAttribute(options, 0, (type, value) => {
    if (type === TCA_BPF.OPS) all = value.equals(MATCH_ALL);
    // Actions have their places as types; ours is the first.
    else if (type === TCA_BPF.ACT)
      eachAttribute(value, 0, (place, action) => {
        if (place === 1) to = redirectingAction(action);
      });
  });
  return all ? to : undefined;
}

function redirectingAction(action: Buffer): number | undefined {
  let kind: string | undefined;
  let to: number | undefined;
  eachAttribute(action, 0, (type, value) => {
    if (type === TCA_ACT.KIND) kind = text(value);
    else if (type === TCA_ACT.OPTIONS)
      eachAttribute(value, 0, (which, parms) => {
        if (which !== TCA_MIRRED_PARMS) return;
        need(parms, MIRRED_LENGTH);
        const redirects = readS32.call(parms, ACTION) === TC_ACT_STOLEN && u32At(parms, EACTION) === TCA_EGRESS_REDIR;
        if (redirects) to = u32At(parms, TO);
      });
  });
  return kind === "mirred" ? to : undefined;
}
