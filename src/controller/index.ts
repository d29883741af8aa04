/** What one agent of the cluster does for all: status of networks and claims, and addresses that are free again. */
export { NetworkStatuses, ownNamespace } from "./network-statuses.ts";
export type { UnstatedPolicy } from "./policy-statuses.ts";
