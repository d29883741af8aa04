/** Whether a pod of this node has an address, by what the kernel alone says: a route to it that leads to a pod's host end. */
import { NetlinkError, type Rtnl } from "../../netlink/index.ts";
import { isHostEnd } from "./attach.ts";

/** What the kernel answers where nothing leads to an address. */
const NOWHERE = new Set(["ENETUNREACH", "EHOSTUNREACH", "EACCES", "EINVAL", "ENODEV"]);

/** Asks it. @throws NetlinkError when the kernel cannot be asked */
export function leadsToPod(rtnl: Pick<Rtnl, "routeTo" | "link">, ip: string): boolean {
  try {
    const { ifindex } = rtnl.routeTo(ip);
    const link = ifindex === undefined ? undefined : rtnl.link(ifindex);
    return link !== undefined && isHostEnd(link);
  } catch (error) {
    if (error instanceof NetlinkError && NOWHERE.has(error.code)) return false;
    throw error;
  }
}
