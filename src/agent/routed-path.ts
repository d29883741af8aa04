/** The data path of a routed network: the overlay's reconciler, in the namespace of the network. */
import type { Logger } from "../log/index.ts";
import { OverlayReconciler, type ReconcilerOptions } from "../overlay/index.ts";
import type { MakeDataPath } from "./data-path.ts";
import { OWN_NETNS } from "./machine.ts";

/**
 * Makes one.
 * @param netns the namespace of the network's device; the agent's own by default
 * @param watch what happens in that namespace, where somebody listens already
 */
export const routedPath =
  (logger: Logger, netns: number | undefined, watch: ReconcilerOptions["watch"]): MakeDataPath =>
  (local, listener) =>
    new OverlayReconciler({
      local,
      logger,
      ...(netns !== undefined && { netns, underlayNetns: OWN_NETNS }),
      ...(watch && { watch }),
      ...listener,
    });
