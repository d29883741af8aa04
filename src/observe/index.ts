/** What the agent says of itself: metrics, readiness, status, and the routes that serve them. */
export type { EgressGatewayStatus, EgressStatus } from "./egress-status.ts";
export { returnMemory } from "./memory.ts";
export { type DataPathListener, Metrics } from "./metrics.ts";
export { assess, type Question, type Readiness, type CheckResult } from "./readiness.ts";
export { agentRoutes } from "./routes.ts";
export {
  type AgentStatus,
  type BandwidthStatus,
  type ApiStatus,
  type NetworkStatus,
  type OutsidePod,
  type PeerStatus,
  type PodAddress,
} from "./status.ts";
