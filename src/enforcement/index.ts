/** Network policies in force on this node. */
export { PolicyEngine, type PolicyPresence } from "./policy-engine.ts";
