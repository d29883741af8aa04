/** The overlay: what the kernel should hold for the peers of a routed network, and keeping it so. */
export { isMadeNeighbour } from "./plan/match.ts";
export { type Actual, type ActualState, allOf, type OnDevice, readActual } from "./plan/actual.ts";
export { type AddressesHere, Desired, deviceAlias, deviceOf, differing } from "./desired/desired.ts";
export { type OverlayEntry } from "./desired/entries.ts";
export { ensureDevice, planDevice } from "./device/device.ts";
export { overlayOperations } from "./plan/operations.ts";
export { tunnelOverhead, vxlanOverhead, wireguardOverhead } from "./overhead.ts";
export { checksumOffloadWorks, tellWrongParameters } from "./device/prepare.ts";
export { doubtOf } from "./drift.ts";
export { OverlayReconciler, type ReconcilerOptions } from "./reconciler.ts";
export { isOverlayDevice } from "./device/recognize.ts";
export { removeOverlay, type Removal, type RemovalOptions } from "./device/remove.ts";
export { replacement } from "./desired/replacement.ts";
export {
  type EntryCount,
  identityOf,
  type NetworkIdentity,
  type OverlayStatus,
  type PeerState,
  type PeerStatus,
  type RepairCounts,
  type RepairKind,
} from "./status.ts";
