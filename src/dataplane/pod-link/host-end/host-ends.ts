/**
 * All pods' host ends at once, for whoever looks for leftovers: they are one link group.
 */
import { addressBits, familyOf } from "../../../addr/index.ts";
import { type Link, ROUTE_PROTOCOL, type Rtnl } from "../../../netlink/index.ts";
import { isHostEnd } from "../attach.ts";

/** The host ends of all pods on this node, of every pod network; `alias` says whose each is. */
export const listPodLinks = (rtnl: Rtnl): Link[] => rtnl.links().filter(isHostEnd);

/** Addresses to which the host has routes of ours through a device, which are those of pods. @throws NetlinkError */
export function* podAddresses(rtnl: Rtnl): Generator<{ ip: string; ifindex: number }> {
  for (const { dst, ifindex, gateway } of rtnl.routes({ protocol: ROUTE_PROTOCOL })) {
    const [ip = "", prefix] = dst.split("/");
    if (ifindex !== undefined && gateway === undefined && Number(prefix) === addressBits(familyOf(ip)))
      yield { ip, ifindex };
  }
}
