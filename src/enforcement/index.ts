/** Network policies in force on this node. */
export type { PolicedNetwork } from "./further/further-policies.ts";
export { podsOfLinks } from "./local-pods.ts";
export type {
  AskedPolicy,
  ExplainedPacket,
  ExplainedPod,
  ExplainedVerdict,
  Explanation,
  PolicyList,
  PolicyReport,
  RuleReport,
} from "./observe/documents.ts";
export { policyRoutes } from "./observe/routes.ts";
export { PolicyEngine } from "./policy-engine.ts";
