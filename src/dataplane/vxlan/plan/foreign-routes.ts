/**
 * Routes in our place. The main table has one place for a destination and priority; a peer's pod CIDR is assigned to
 * that peer by the cluster, so a route of another origin there (a leftover of another CNI plugin, or `ip route
 * replace` by hand) takes that peer's traffic away. As flannel, Calico and Cilium do, ours replaces it, which is said in
 * the log. The one exception are routes that the kernel keeps itself for an address of an interface: replacing
 * one would cut this host off its own network, so that is the peer's error.
 */
import type { OperationFailure, Route, Rtnl } from "../../../netlink/index.ts";
import type { Refused } from "../../../reconcile/index.ts";
import { MAIN_TABLE } from "./actual.ts";
import { hasPlaceOf, isOwnRoute } from "./match.ts";

/** rtm_protocol RTPROT_KERNEL: installed by the kernel with an address. */
const PROTOCOL_KERNEL = 2;

/** What became of the routes that could not be added. */
export interface Takeover {
  /** Failures that remain, with what stands in the way. */
  refused: Refused[];
  /** Routes of others that ours replaced. */
  replaced: Route[];
}

/** Takes over the places that failed operations found occupied. @throws NetlinkError when routes cannot be read */
export function replaceForeignRoutes(
  rtnl: Pick<Rtnl, "routes" | "execute">,
  failed: readonly OperationFailure[],
): Takeover {
  const outcome: Takeover = { refused: [], replaced: [] };
  const occupied = new Set<string>();
  for (const { operation, error } of failed) {
    if (operation.kind === "route" && error.code === "EEXIST") occupied.add(operation.route.dst);
  }
  if (occupied.size === 0) {
    outcome.refused = failed.map(({ index, error }) => ({ index, message: error.message }));
    return outcome;
  }
  const inPlace = new Map<string, Route>();
  for (const route of rtnl.routes({ table: MAIN_TABLE })) {
    if (occupied.has(route.dst) && hasPlaceOf(route) && !inPlace.has(route.dst)) inPlace.set(route.dst, route);
  }
  for (const { index, operation, error } of failed) {
    const route = operation.kind === "route" ? inPlace.get(operation.route.dst) : undefined;
    if (operation.kind !== "route" || error.code !== "EEXIST" || !route) {
      outcome.refused.push({ index, message: error.message });
    } else if (route.protocol === PROTOCOL_KERNEL) {
      const message = `${error.message}: the route there belongs to an address of this host, whose network overlaps the pod CIDR`;
      outcome.refused.push({ index, message });
    } else {
      try {
        rtnl.execute({ ...operation, op: "replace" });
        // One to a pod that was here until now, and is on another node, is ours as well.
        if (!isOwnRoute(route)) outcome.replaced.push(route);
      } catch (second) {
        outcome.refused.push({ index, message: (second as Error).message });
      }
    }
  }
  return outcome;
}
