/** A bridged pod network's data plane: one subnet over all nodes, whose addresses are known and not searched for. */
export * from "./owners.ts";
