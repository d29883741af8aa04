/** Where pods are that no block of addresses tells the place of: this node's own, and all others'. */
export { type ClaimUse, type PodPort, portsOf, withUnrecorded } from "./pod-ports.ts";
export { type Decision, Workloads, type WorkloadsOptions } from "./workloads.ts";
