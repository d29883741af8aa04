/**
 * Configuration: the agent's (file, flags, environment) and what the agent publishes for the CNI plugin. The plugin
 * uses the published part only, and its bundle holds nothing of the rest: nothing here runs at import but definitions.
 */
export type { AgentConfig } from "./agent.ts";
export { ConfigError, type ConfigProblem } from "./error.ts";
export { EXTERNAL_IP, type ListenAddress, parseListen } from "./fields.ts";
export { agentUsage } from "./flags.ts";
export { matchInterfaces } from "./interface-pattern.ts";
export { type ConfigSources, loadAgentConfig, wantsHelp } from "./load.ts";
export { configurationMarkdown } from "./markdown.ts";
export type { NetworkConfig, NetworkRecords } from "./network.ts";
export {
  PUBLISHED_VERSION,
  type PublishedNetwork,
  parsePublished,
  publishedPath,
  readPublished,
  writePublished,
} from "./published.ts";
export { publishedReader } from "./published-reader.ts";
