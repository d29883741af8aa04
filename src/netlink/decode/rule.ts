/**
 * Policy routing rules out of the kernel's messages (RTM_NEWRULE).
 */
import { AF_INET, AF_INET6, FR_ACT_TO_TBL, FRA } from "../constants.ts";
import type { Rule } from "../types.ts";
import { eachAttribute, ip, need, text, u8, u16At, u32, u32At } from "./attributes.ts";

/** Length of struct fib_rule_hdr. */
const HEADER = 12;
const FIB_RULE_INVERT = 2;
const NO_SUPPRESSION = 0xffff_ffff;

/** `undefined` for other families (multicast routing has rules as well). @throws MalformedMessage */
export function decodeRule(data: Buffer): Rule | undefined {
  need(data, HEADER);
  const byte = (offset: number) => data[offset] as number;
  const family = byte(0);
  if (family !== AF_INET && family !== AF_INET6) return undefined;
  const rule: Rule = { family: family === AF_INET ? 4 : 6, priority: 0, table: byte(4) };
  if (byte(7) !== FR_ACT_TO_TBL) rule.action = byte(7);
  if (u32At(data, 8) & FIB_RULE_INVERT) rule.invert = true;
  eachAttribute(data, HEADER, (type, value) => {
    switch (type) {
      case FRA.DST:
        rule.dst = `${ip(value)}/${byte(1)}`;
        break;
      case FRA.SRC:
        rule.src = `${ip(value)}/${byte(2)}`;
        break;
      case FRA.IIFNAME:
        rule.iifname = text(value);
        break;
      case FRA.OIFNAME:
        rule.oifname = text(value);
        break;
      case FRA.PRIORITY:
        rule.priority = u32(value);
        break;
      case FRA.TABLE:
        rule.table = u32(value);
        break;
      case FRA.FWMARK:
        rule.fwmark = u32(value);
        break;
      case FRA.FWMASK:
        rule.fwmask = u32(value);
        break;
      case FRA.PROTOCOL:
        rule.protocol = u8(value);
        break;
      case FRA.IP_PROTO:
        rule.ipProto = u8(value);
        break;
      case FRA.SPORT_RANGE:
        rule.sport = u16At(value, 0);
        break;
      case FRA.DPORT_RANGE:
        rule.dport = u16At(value, 0);
        break;
      case FRA.SUPPRESS_PREFIXLEN:
        if (u32(value) !== NO_SUPPRESSION) rule.suppressPrefixLength = u32(value);
        break;
      default:
    }
  });
  return rule;
}
