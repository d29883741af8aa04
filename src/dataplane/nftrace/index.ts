/** Following single packets through the packet filter: marking them, and hearing from the kernel where they pass and what becomes of them. */
export type { TraceEvent } from "./events.ts";
export { type MarkingRule, type Match, SEEN_CHAINS } from "./table.ts";
export { NoTracing, PacketWatch } from "./packet-watch.ts";
