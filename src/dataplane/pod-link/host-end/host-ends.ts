/**
 * All pods' host ends at once, for whoever looks for leftovers: they are one link group.
 */
import type { Link, Rtnl } from "../../../netlink/index.ts";
import { isHostEnd } from "../attach.ts";

/** The host ends of all pods on this node, of every pod network; `alias` says whose each is. */
export const listPodLinks = (rtnl: Rtnl): Link[] => rtnl.links().filter(isHostEnd);
