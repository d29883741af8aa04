/** This node's parts in pod networks beside the default one. */
export { recordedNetworks } from "./instance-records.ts";
export { Networks } from "./networks.ts";
