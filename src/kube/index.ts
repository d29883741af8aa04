/** The Kubernetes side: watch, publish, events; the only folder that imports `@kubernetes/client-node`. */
export { patchNodeAnnotations } from "./annotate.ts";
export { ApiError } from "./api-error.ts";
export { type ConnectOptions, connect, type KubeClient } from "./client.ts";
export { type EventOptions, type NodeEvent, NodeEvents } from "./events.ts";
export { NodeReflector, OwnNode } from "./nodes.ts";
export type { KubeLog } from "./mirror.ts";
export { createObject, deleteObject, getMeta, listObjects, type ObjectMeta, patchStatus } from "./objects.ts";
export { Reflector } from "./reflector.ts";
export type { ReflectorOptions } from "./source.ts";
export type { ReflectorTimings } from "./timings.ts";
export { ANNOTATION_PREFIX, type Changes, type NodeMeta, type OwnNodeInfo, type WatchState } from "./types.ts";
