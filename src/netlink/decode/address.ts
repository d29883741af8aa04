/**
 * Addresses out of the kernel's messages (RTM_NEWADDR, RTM_DELADDR).
 */
import { AF_INET, AF_INET6, IFA, IFA_F } from "../constants.ts";
import { MalformedMessage } from "../errors.ts";
import type { Address } from "../types.ts";
import { eachAttribute, ip, need, u32, u32At } from "./attributes.ts";

/** Length of struct ifaddrmsg. */
const HEADER = 8;

/** `undefined` for other families, such as Phonet's. @throws MalformedMessage */
export function decodeAddress(data: Buffer): Address | undefined {
  need(data, HEADER);
  if (data[0] !== AF_INET && data[0] !== AF_INET6) return undefined;
  let flags = data[2] as number;
  let local: string | undefined;
  let other: string | undefined;
  eachAttribute(data, HEADER, (type, value) => {
    if (type === IFA.LOCAL) local = ip(value);
    else if (type === IFA.ADDRESS) other = ip(value);
    else if (type === IFA.FLAGS) flags = u32(value);
  });
  // Where both are there they differ on point-to-point links only, and then the second is the far end's.
  const own = local ?? other;
  if (own === undefined) throw new MalformedMessage("an address message without an address");
  const address: Address = {
    ifindex: u32At(data, 4),
    ip: own,
    prefix: data[1] as number,
    scope: data[3],
  };
  if (flags & IFA_F.NODAD) address.nodad = true;
  if (flags & IFA_F.NOPREFIXROUTE) address.noPrefixRoute = true;
  if (flags & IFA_F.DEPRECATED) address.deprecated = true;
  if (flags & IFA_F.TENTATIVE) address.tentative = true;
  if (flags & IFA_F.DADFAILED) address.dadFailed = true;
  if (flags & IFA_F.PERMANENT) address.permanent = true;
  return address;
}
