/** Network namespaces of pod networks: each node has one for every network but the default one that it takes part in. */
export {
  ensureNetworkNetns,
  listNetworkNetns,
  openNetworkNetns,
  NetworkNetns,
  networkNetnsName,
  networkNetnsPath,
} from "./network-netns.ts";

export type { NetnsMounter } from "./netns-mounter.ts";
