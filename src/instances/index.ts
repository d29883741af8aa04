/** This node's parts in pod networks beside the default one. */
export type { InstanceLinks, InstanceMachine } from "./instance-machine.ts";
export { recordedNetworks } from "./instance-records.ts";
export { Networks } from "./networks.ts";
