/** This machine: its links, addresses and segments, what the kernel must be set to, and that one agent alone runs here. */
export { claimNode, lockPath, NodeClaim, removeDrafts } from "./agent-lock.ts";
export { DirectRoutes } from "./direct-routes.ts";
export { ensureForwarding, planForwarding, PROTOCOL_RA, readForwarding, type SysctlWrite } from "./forwarding.ts";
export { lookAt, type Machine, OWN_NETNS, watchMachine } from "./machine.ts";
export { ensureNeighbourRoom } from "./neighbour-table.ts";
export { type NetnsWatch, type WatchNetns, watchNetns } from "./netns-watch.ts";
export { NetworkAvailable } from "./network-available.ts";
export { directFamilies, type Segments, withHops } from "./segments.ts";
