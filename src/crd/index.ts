/** Pod networks as the API server has them: how they are defined, what nodes and workloads have of them, who may attach, what pods ask for. */
export { type ClaimReady, claimReady, readyOf } from "./claim-conditions.ts";
export { type RefusedNetwork, resolveConflicts } from "./conflicts.ts";
export { type AddressHolder, type EgressGatewayInfo, holdersOf, parseEgressGateway } from "./egress-gateway.ts";
export { type IPClaimInfo, parseIPClaim } from "./ip-claim.ts";
export { type Labels, type LabelSelector, matchesSelector } from "./label-selector.ts";
export * from "./names.ts";
export {
  type BlockOwner,
  blockObject,
  isOfPredecessor,
  type NetworkBlock,
  parseNetworkBlock,
  readNetworkBlock,
  POD_KEY,
} from "./network-block.ts";
export { networkStatus, type Obstacle } from "./network-conditions.ts";
export {
  type Endpoint,
  endpointsObject,
  type NetworkEndpoints,
  parseNetworkEndpoints,
} from "./network-endpoints.ts";
export { infoOrFault, isOlder, ObjectError, sameObject } from "./object.ts";
export { POD_NETWORK_KIND, type PodNetworkInfo, parsePodNetwork } from "./pod-network.ts";
export { formatNetworkStatus, type InterfaceStatus, STATUS_ANNOTATION } from "./status.ts";
export { SelectionError } from "./selection/selection-syntax.ts";
export {
  NETWORKS_ANNOTATION,
  parseNetworksAnnotation,
  PRIMARY_ANNOTATION,
  primaryNetwork,
  readSelections,
  type NetworkSelection,
} from "./selection/network-selection.ts";
