/** The agent: its process, and what else of it the command line uses. */
export { runAgent, type Process } from "./run.ts";
export type { AgentStatus, ApiStatus, NetworkStatus, PeerStatus } from "./status.ts";
