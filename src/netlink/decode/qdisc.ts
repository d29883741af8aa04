/**
 * Queueing disciplines out of the kernel's messages (RTM_NEWQDISC).
 */
import { TCA_KIND } from "../constants.ts";
import type { Qdisc } from "../types.ts";
import { eachAttribute, text, u32At } from "./attributes.ts";

/** Length of struct tcmsg, and where in it the device is. */
const HEADER = 20;
const IFINDEX = 4;

/** `undefined` for one without a kind. @throws MalformedMessage */
export function decodeQdisc(data: Buffer): Qdisc | undefined {
  const ifindex = u32At(data, IFINDEX);
  let kind: string | undefined;
  eachAttribute(data, HEADER, (type, value) => {
    if (type === TCA_KIND) kind = text(value);
  });
  return kind === undefined ? undefined : { ifindex, kind };
}
