/** The Kubernetes side: watch, publish, events; the only folder that imports `@kubernetes/client-node`. */
export { patchNodeAnnotations, patchPodAnnotations, type PodIdentity } from "./annotate.ts";
export { ApiError } from "./api-error.ts";
export { Candidate, type CandidateOptions } from "./candidate.ts";
export { type ConnectOptions, connect, type KubeClient } from "./client.ts";
export { type EventOptions, type NodeEvent, NodeEvents } from "./events.ts";
export { type NodeCondition, patchNodeCondition } from "./node-condition.ts";
export { METADATA_ONLY, NODES, NodeReflector, OwnNode } from "./nodes.ts";
export type { LeaseState } from "./lease-sight.ts";
export { NodeDetailsKeeper } from "./node-details.ts";
export { NodeLeases } from "./node-leases.ts";
export { getMeta, metaOf, NAMESPACES, type ObjectMeta, podsOf } from "./meta.ts";
export type { KubeLog } from "./mirror.ts";
export { NamespaceReflector, ObjectReflector, type ObjectSource } from "./object-reflector.ts";
export {
  createObject,
  deleteObject,
  getObject,
  listObjects,
  listRemembered,
  patchAnnotations,
  patchFinalizers,
  patchStatus,
  replaceObject,
  type Writable,
} from "./objects.ts";
export type { ReflectorOptions } from "./source.ts";
export type { ReflectorTimings } from "./timings.ts";
export {
  ANNOTATION_PREFIX,
  type Changes,
  type NodeDetails,
  type NodeMeta,
  type OwnNodeInfo,
  type WatchState,
} from "./types.ts";
