/**
 * Policy routing rules as netlink messages (struct fib_rule_hdr, linux/fib_rules.h).
 */
import { writeU16 } from "netlink/dist/structs.js";
import { cidrOf, ipToBytes, networkAddress } from "../../addr/index.ts";
import { AF_INET, AF_INET6, FR_ACT_TO_TBL, FRA, RT_TABLE } from "../constants.ts";
import { ROUTE_PROTOCOL, type Rule } from "../types.ts";
import type { MessageWriter } from "../transport/writer.ts";

const FIB_RULE_INVERT = 2;

/** struct fib_rule_hdr. */
export function ruleHeader(
  w: MessageWriter,
  h: { family: number; dstLength?: number; srcLength?: number; table?: number; action?: number; flags?: number },
): void {
  w.u8(h.family);
  w.u8(h.dstLength ?? 0);
  w.u8(h.srcLength ?? 0);
  w.u8(0);
  w.u8(h.table ?? RT_TABLE.UNSPEC);
  w.u8(0);
  w.u8(0);
  w.u8(h.action ?? 0);
  w.u32(h.flags ?? 0);
}

/** struct fib_rule_port_range of one port, in the machine's order. */
function portRange(port: number): Buffer {
  const range = Buffer.alloc(4);
  writeU16.call(range, port, 0);
  writeU16.call(range, port, 2);
  return range;
}

/** The body of a message about a rule; its protocol is Skylane's unless said otherwise, in deletions too. */
export function rule(w: MessageWriter, r: Rule): void {
  const prefix = (cidr: string | undefined) => (cidr === undefined ? 0 : cidrOf(cidr).prefix);
  ruleHeader(w, {
    family: r.family === 4 ? AF_INET : AF_INET6,
    dstLength: prefix(r.dst),
    srcLength: prefix(r.src),
    action: r.action ?? FR_ACT_TO_TBL,
    flags: r.invert ? FIB_RULE_INVERT : 0,
  });
  // A prefix length of 0 is said by the header alone.
  if (prefix(r.dst) > 0) w.attribute(FRA.DST, ipToBytes(networkAddress(r.dst as string)));
  if (prefix(r.src) > 0) w.attribute(FRA.SRC, ipToBytes(networkAddress(r.src as string)));
  if (r.iifname !== undefined) w.attributeString(FRA.IIFNAME, r.iifname);
  if (r.oifname !== undefined) w.attributeString(FRA.OIFNAME, r.oifname);
  w.attributeU32(FRA.PRIORITY, r.priority);
  if (r.table !== 0) w.attributeU32(FRA.TABLE, r.table);
  if (r.fwmark !== undefined) w.attributeU32(FRA.FWMARK, r.fwmark);
  if (r.fwmask !== undefined) w.attributeU32(FRA.FWMASK, r.fwmask);
  if (r.suppressPrefixLength !== undefined) w.attributeU32(FRA.SUPPRESS_PREFIXLEN, r.suppressPrefixLength);
  if (r.ipProto !== undefined) w.attributeU8(FRA.IP_PROTO, r.ipProto);
  if (r.sport !== undefined) w.attribute(FRA.SPORT_RANGE, portRange(r.sport));
  if (r.dport !== undefined) w.attribute(FRA.DPORT_RANGE, portRange(r.dport));
  w.attributeU8(FRA.PROTOCOL, r.protocol ?? ROUTE_PROTOCOL);
}
