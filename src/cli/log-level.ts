/** `skylanectl log-level`: what the agent of this node logs, without a restart. */
import { LOG_LEVELS } from "../log/index.ts";
import { AGENT_SOCKET, askAgent } from "./agent/client.ts";
import { type Command, UsageError } from "./command.ts";

/** The command. */
export const logLevelCommand: Command = {
  words: ["log-level"],
  summary: "Show what the agent of this node logs, or change it until it is restarted",
  operands: `[${LOG_LEVELS.join("|")}]`,
  count: [0, 1],
  options: { socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` } },
  details: "The configuration (logLevel) is not changed: the next start has its level again.",
  async run(input) {
    const [level] = input.operands;
    if (level !== undefined && !(LOG_LEVELS as readonly string[]).includes(level))
      throw new UsageError(`the level must be one of ${LOG_LEVELS.join(", ")}, not "${level}"`);
    const socket = input.text("socket") ?? AGENT_SOCKET;
    const answer = await (level === undefined
      ? askAgent("/log-level", socket)
      : askAgent(`/log-level?level=${level}`, socket, undefined, "PUT"));
    process.stdout.write(answer);
    return 0;
  },
};
