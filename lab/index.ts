/** A whole cluster of nodes on one machine: `Lab` for programs and tests, `labCommands` for people. */
export type { FaultSettings } from "./api/index.ts";
export { type KubeObject } from "./api-client.ts";
export { labCommands } from "./cli/index.ts";
export { forgotten, joined } from "./cluster/convergence.ts";
export { type Drift, DRIFT_KINDS, type DriftKind } from "./pods/drift.ts";
export { Lab } from "./lab.ts";
export type { LabOptions } from "./cluster/options.ts";
export type { Addressing } from "./cluster/names.ts";
export { type Gap, moveUnderLoad, type MoveUnderLoad } from "./pods/gap.ts";
export type { Echo } from "./pods/ping.ts";
export { LabFiles, type LabRecord, type NodeRecord, type PodRecord } from "./cluster/records.ts";
export type { SideReport, Transfer } from "./pods/transfer.ts";
