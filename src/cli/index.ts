/** The operator's command line: the framework of commands, and those that look after one node. */
export { type AgentStatus, agentStatus, askAgent, type NetworkStatus } from "./agent/client.ts";
export { type Command, CommandError, Input, type OptionSpec, OUTPUT, UsageError } from "./command.ts";
export { completionCommand, completionScript } from "./completion.ts";
export { kubectlPlugin, parsePluginCall, type PluginCall, runPluginCall } from "./kubectl/plugin.ts";
export { describeError, main, type Surroundings } from "./main.ts";
export { nodeCommands } from "./node-commands.ts";
export { furtherRow, NETWORK_HEADINGS } from "./status.ts";
export { age, type Cell, duration, properties, table } from "./table.ts";
export { type RunThere, traceBoth } from "./trace/both.ts";
export {
  type Half,
  type Hop,
  type Live,
  liveOption,
  renderTrace,
  type Trace,
  TRACE_OPTIONS,
  trafficOf,
} from "./trace/index.ts";
export { liveBoth } from "./trace/live/both.ts";
export { startRunning } from "./trace/live/running.ts";
export { runProcess } from "./process.ts";
export type { Cluster } from "./ui/cluster.ts";
export type { LiveMap } from "./ui/ui.ts";
/** The live map, which only those load who show it. */
export const liveMap = () => import("./ui/ui.ts");
