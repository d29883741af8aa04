/**
 * Addresses of devices as netlink messages (struct ifaddrmsg, linux/if_addr.h).
 */
import { familyOf, ipToBytes } from "../../addr/index.ts";
import { AF_INET, AF_INET6, IFA, IFA_F } from "../constants.ts";
import type { Address } from "../types.ts";
import type { MessageWriter } from "../transport/writer.ts";

/** struct ifa_cacheinfo: preferred for no time, valid for ever, and two times that the kernel fills in. */
const NEVER_PREFERRED = Buffer.from("00000000ffffffff0000000000000000", "hex");

/** The body of a message about an address. */
export function address(w: MessageWriter, a: Address): void {
  const flags = (a.nodad ? IFA_F.NODAD : 0) | (a.noPrefixRoute ? IFA_F.NOPREFIXROUTE : 0);
  w.u8(familyOf(a.ip) === 4 ? AF_INET : AF_INET6);
  w.u8(a.prefix);
  w.u8(flags & 0xff);
  w.u8(a.scope ?? 0);
  w.u32(a.ifindex);
  const bytes = ipToBytes(a.ip);
  w.attribute(IFA.LOCAL, bytes);
  w.attribute(IFA.ADDRESS, bytes);
  if (flags !== 0) w.attributeU32(IFA.FLAGS, flags);
  if (a.deprecated) w.attribute(IFA.CACHEINFO, NEVER_PREFERRED);
}
