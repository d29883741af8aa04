/** The agent: its process, and what else of it the command line uses. */
export { runAgent, type Process } from "./run.ts";
export { uninstall, type UninstallOptions, UninstallRefused, type UninstallReport } from "./uninstall.ts";
