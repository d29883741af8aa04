/** What a pod gets: a veth pair, its addresses, routes and neighbours. */
export { attachPod, attachPodAsync, PATIENCE_MS } from "./attach.ts";
export { POD_PORT } from "./bridged.ts";
export { ownSourceTable, SOURCE_TABLE } from "./by-source.ts";
export { checkPod } from "./check.ts";
export { detachPod, forgetSource } from "./detach.ts";
export { DetachQueue } from "./detach-queue.ts";
export { PodLinkError, type PodLinkReason } from "./errors.ts";
export { isHostEnd } from "./attach.ts";
export { leadsToPod } from "./in-use.ts";
export { listPodLinks, podAddresses } from "./host-end/host-ends.ts";
export { hostSources, type HostSources } from "./host-end/host-sources.ts";
export { GATEWAY, HOST_MAC, hostIfname, podMacOf } from "./names.ts";
export { type AttachedPod, hostEndRepairs, repairHostEnds } from "./host-end/repair.ts";
export { repairNeighbours } from "./host-end/neighbours.ts";
export { hostRoute, newNeighbour } from "./plan.ts";
export type { PodBridge, PodLink, PodLinkExpectation, PodLinkSpec } from "./types.ts";
