/** A whole cluster of nodes on one machine: `Lab` for programs and tests, `labCommands` for people. */
export { ApiClient, ApiError, type KubeObject } from "./api-client.ts";
export { labCommands } from "./cli/index.ts";
export { converged, forgotten, joined, missingOn } from "./convergence.ts";
export { Lab, type LabOptions } from "./lab.ts";
export type { Addressing } from "./names.ts";
export type { Echo } from "./ping.ts";
export { LabFiles, type LabRecord, type NodeRecord, type PodRecord } from "./records.ts";
export { NetworkNotReady, PluginError } from "./runtime/runtime.ts";
