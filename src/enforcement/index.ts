/** Network policies in force on this node. */
export { PolicyEngine } from "./policy-engine.ts";
