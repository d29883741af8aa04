/** The Kubernetes side: watch, publish, events; the only folder that imports `@kubernetes/client-node`. */
export { patchNodeAnnotations, patchPodAnnotations, type PodIdentity } from "./nodes/annotate.ts";
export { ApiError } from "./client/api-error.ts";
export { connectBy } from "./client/socket-client.ts";
export { LeaderElector, type LeaderElectorOptions } from "./leader-elector.ts";
export { type ConnectOptions, connect, type KubeClient } from "./client/client.ts";
export { type EventOptions, type NodeEvent, NodeEvents } from "./events.ts";
export { type NodeCondition, patchNodeCondition } from "./nodes/node-condition.ts";
export { METADATA_ONLY, NODES, NodeReflector, OwnNode } from "./nodes/nodes.ts";
export type { LeaseState } from "./nodes/lease-sight.ts";
export { NodeDetailsKeeper } from "./nodes/node-details.ts";
export { growingPause, longestPause } from "./nodes/growing-pause.ts";
export { NodeLeases } from "./nodes/node-leases.ts";
export { getMeta, metaOf, NAMESPACES, type ObjectMeta, podsOf } from "./meta.ts";
export { DefinitionReflector } from "./informer/definition.ts";
export type { KubeLog } from "./informer/store.ts";
export {
  NamespaceReflector,
  NodeLabelReflector,
  ObjectReflector,
  type ObjectSource,
} from "./informer/object-reflector.ts";
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
export type { PodEntry } from "./pods/pod-entry.ts";
export { type OwnPod, OwnPodReflector } from "./pods/own-pods.ts";
export { podEntryOf, PodReflector } from "./pods/pods.ts";
export { type ServiceEntry, ServiceReflector } from "./services/services.ts";
export type { ReflectorOptions } from "./informer/source.ts";
export type { ReflectorTimings } from "./client/timings.ts";
export {
  type Changes,
  type NodeDetails,
  type NodeMeta,
  type OwnNodeInfo,
  type WatchState,
} from "./types.ts";
