/** The overlay: who the peers are, what the kernel should hold for them, and keeping it so. */
export {
  DEFAULT_NETWORK,
  MAX_ANNOTATION_LENGTH,
  VTEP_ANNOTATION,
  formatVtepAnnotation,
  networksNamed,
  parseVtepAnnotation,
  readVtepAnnotation,
} from "./annotation.ts";
export { applyPlan } from "./apply.ts";
export type { Backoff } from "./backoff.ts";
export { type Changed, Ledger } from "./ledger.ts";
export { isMadeNeighbour } from "./match.ts";
export { type ActualState, readActual } from "./actual.ts";
export { desiredState, deviceAlias, deviceOf, differing } from "./desired.ts";
export type { Birthplace } from "./birthplace.ts";
export { ensureDevice, planDevice } from "./device.ts";
export { AnnotationError, DeviceConflict } from "./errors.ts";
export { type PassReport } from "./pass.ts";
export { type Loss, PeerSelector, selectPeers, type PeerSelection, type SelectionChange } from "./peers.ts";
export { PrefixIndex, prefixOf } from "./prefix-index.ts";
export { NOTHING_RESERVED, type Reserved, reservedWithin } from "./reserved.ts";
export { plan } from "./plan.ts";
export { unproven } from "./proof.ts";
export { checksumOffloadWorks } from "./prepare.ts";
export { OverlayReconciler, type ReconcilerOptions } from "./reconciler.ts";
export { isOverlayDevice } from "./recognize.ts";
export { removeOverlay, type Removal, type RemovalOptions } from "./remove.ts";
export { type RepairCounts, type RepairKind } from "./repairs.ts";
export { replacement } from "./replacement.ts";
export {
  type EntryCount,
  identityOf,
  type NetworkIdentity,
  type OverlayStatus,
  type PeerState,
  type PeerStatus,
} from "./status.ts";
export * from "./types.ts";
export { Upkeep, type UpkeepOptions, WHOLE } from "./upkeep.ts";
export { isClusterCidr } from "./verdict.ts";
