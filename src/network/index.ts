/** One network on this node, from what is known of the cluster to a working data path. */
export { PodNetwork } from "./network.ts";
export { probe, type ProbePath, probePaths } from "./probes.ts";
export { ensurePublished, type PublishedExtra } from "./published-files.ts";
