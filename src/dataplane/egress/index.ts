/** Egress gateways on this node: which packets leave the cluster by which node, and behind which address. */
export { EGRESS, rememberAnswers, rememberedAnswers } from "./records.ts";
export { EgressKeeper, type EgressKeeperOptions } from "./keeper.ts";
export { NetworkEgress, type NetworkEgressOptions } from "./network-egress.ts";
export { type NetworkEgressWanted, type NetworkWay, renderNetworkEgress } from "./network-table.ts";
export type { EgressFault } from "./reconciler.ts";
export { removeEgress } from "./remove.ts";
export { EGRESS_TABLE, renderEgress } from "./table.ts";
export { announcementOf } from "./announcement.ts";
export {
  answersFor,
  type EgressWanted,
  type EgressWay,
  type GatewayNode,
  GatewayNumbers,
  NO_EGRESS,
} from "./wanted.ts";
