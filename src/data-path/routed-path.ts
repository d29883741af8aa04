/** The data path of the default network: the overlay's reconciler, in the agent's own network namespace. */
import type { Logger } from "../log/index.ts";
import { OverlayReconciler, type ReconcilerOptions } from "../dataplane/vxlan/index.ts";
import type { MakeDataPath } from "./data-path.ts";

/** Makes one. @param watch what happens in that namespace, where somebody listens already */
export const routedPath =
  (logger: Logger, watch: NonNullable<ReconcilerOptions["watch"]>): MakeDataPath =>
  (local, listener) =>
    new OverlayReconciler({ local, logger, watch, ...listener });
