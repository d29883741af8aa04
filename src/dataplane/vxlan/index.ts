/** The overlay: who the peers are, what the kernel should hold for them, and keeping it so. */
export { applyPlan } from "./plan/apply.ts";
export { isMadeNeighbour } from "./plan/match.ts";
export { type ActualState, readActual } from "./plan/actual.ts";
export { desiredState, deviceAlias, deviceOf, differing } from "./desired/desired.ts";
export type { LinkNetns } from "./device/link-netns.ts";
export { ensureDevice, planDevice } from "./device/device.ts";
export { type PassReport } from "./pass.ts";
export { plan } from "./plan/plan.ts";
export { checksumOffloadWorks, tellWrongParameters } from "./device/prepare.ts";
export { OverlayReconciler, type ReconcilerOptions } from "./reconciler.ts";
export { isOverlayDevice } from "./device/recognize.ts";
export { removeOverlay, type Removal, type RemovalOptions } from "./device/remove.ts";
export { type RepairCounts, type RepairKind } from "./plan/repairs.ts";
export { replacement } from "./desired/replacement.ts";
export {
  type EntryCount,
  identityOf,
  type NetworkIdentity,
  type OverlayStatus,
  type PeerState,
  type PeerStatus,
} from "./status.ts";
export { ControlLoop, type ControlLoopOptions, WHOLE } from "./control-loop.ts";
