/** The agent: its process, and what else of it the command line uses. */
export { runAgent, type Process } from "./run.ts";
export { uninstall, type UninstallOptions, UninstallRefused, type UninstallReport } from "./uninstall.ts";
/** For skylanectl doctor, which looks at a node the way the agent does. */
