/** The agent of this node as its configuration has it, for commands that look at more than its answers. */
import { hostname } from "node:os";
import { type AgentConfig, loadAgentConfig } from "../../config/index.ts";
import type { Input } from "../command.ts";
import { AGENT_SOCKET } from "./client.ts";

/** By which name this node goes. */
export const nodeName = (): string => process.env["NODE_NAME"] ?? hostname().toLowerCase();

/** By options `config` and `socket`; without a configuration, its defaults. @throws ConfigError */
export function configuredAgent(input: Input): { config: AgentConfig; socket: string } {
  const file = input.text("config");
  const config = loadAgentConfig({ argv: ["--node-name", nodeName()], ...(file === undefined ? {} : { file }) });
  return {
    config,
    socket: input.text("socket") ?? (file === undefined ? AGENT_SOCKET : `${config.runDir}/agent.sock`),
  };
}
