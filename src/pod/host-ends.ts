/**
 * All pods' host ends at once, for whoever looks for leftovers: they are one link group.
 */
import type { Link, Rtnl } from "../netlink/index.ts";
import { isHostEnd } from "./attach.ts";
import { remove } from "./detach.ts";

/** The host ends of all pods on this node, of every pod network; `alias` says whose each is. */
export const listPodLinks = (rtnl: Rtnl): Link[] => rtnl.links().filter(isHostEnd);

/**
 * Removes the host ends for which `isStale` is sure, and returns them. It must only be sure of links without a living
 * attachment: a running pod loses its network with its host end.
 * @throws NetlinkError when the kernel refuses to remove one; those before it are gone then.
 */
export function removeStalePodLinks(rtnl: Rtnl, isStale: (hostEnd: Link) => boolean): Link[] {
  const stale = listPodLinks(rtnl).filter(isStale);
  for (const { index, name } of stale) remove(rtnl, index, name);
  return stale;
}
