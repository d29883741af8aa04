/** Which PodNetworks are defined, which of them can be, and what keeps one from going. */
export { type Defined, DefinedNetworks } from "./defined-networks.ts";
export { beingDeleted, letNetworkGo, NetworkHold, predecessorHasPods } from "./network-hold.ts";
export { type NetworkObject, readNetworkObject } from "./network-object.ts";
export { clusterAddresses, type ClusterAddresses } from "./network-overlaps.ts";
