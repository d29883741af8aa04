/** A whole cluster of nodes on one machine: `Lab` for programs and tests, `labCommands` for people. */
export type { FaultSettings } from "./api/index.ts";
export { ApiClient, ApiError, type KubeObject } from "./api-client.ts";
export { labCommands } from "./cli/index.ts";
export { converged, forgotten, joined, missingOn } from "./convergence.ts";
export { type Drift, DRIFT_KINDS, type DriftKind } from "./drift.ts";
export { Lab } from "./lab.ts";
export type { LabOptions } from "./options.ts";
export type { Addressing } from "./names.ts";
export { type Gap, moveUnderLoad, type MoveUnderLoad } from "./gap.ts";
export type { Echo } from "./ping.ts";
export { LabFiles, type LabRecord, type NodeRecord, type PodRecord } from "./records.ts";
export { NetworkNotReady, PluginError } from "./runtime/runtime.ts";
export type { SideReport, Transfer } from "./transfer.ts";
