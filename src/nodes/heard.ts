/** Whether a Node's kubelet is heard, as it counts between two Nodes that claim the same (peers/order.ts). */
import type { LeaseState } from "../kube/index.ts";

/**
 * What the lease and the condition Ready say together; undefined where nobody knows. The lease is first: a renewal that we have seen is as
 * good as the kubelet's voice, and without one for as long as it lasts nobody need wait for the node controller, which may be away itself.
 * @param ready whether the condition is not Unknown. @param lease undefined where nobody has read it
 */
export function isHeard(ready: boolean | undefined, lease: LeaseState | undefined): boolean | undefined {
  switch (lease) {
    case "renewed":
      return true;
    case "over":
      return false;
    case "none":
    case "doubtful":
      return ready === false ? false : undefined;
    default:
      return ready;
  }
}
