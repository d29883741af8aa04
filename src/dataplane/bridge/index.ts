/** A bridged pod network's data plane: one subnet over all nodes, whose addresses are known and not searched for. */
export { type BridgeActual, type Devices } from "./actual.ts";
export { BridgeDesired } from "./desired.ts";
export { bridgeOperations } from "./operations.ts";
export { BridgeReconciler, type BridgeReconcilerOptions } from "./reconciler.ts";
export type { BridgeRepairs, BridgeStatus } from "./status.ts";
export * from "./types.ts";
