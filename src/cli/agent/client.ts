/**
 * Asks the agent on this node (or, through another path to its socket, on any node of a lab) how it is. HTTP over
 * a Unix socket: no port to guard, and the file's permissions say who may ask.
 */
import { request } from "node:http";
import type { AgentStatus, NetworkStatus } from "../../observe/index.ts";
import { CommandError } from "../command.ts";

export type { AgentStatus, NetworkStatus };

/** Where the agent listens on a node. */
export const AGENT_SOCKET = "/run/skylane/agent.sock";

const LIMIT = 64 << 20;

/**
 * Asks the agent for a path and returns the body.
 * @throws CommandError when nobody listens, the answer is not 200, or none comes within `timeoutMs`
 */
export function askAgent(
  path: string,
  socketPath = AGENT_SOCKET,
  timeoutMs = 5000,
  method: "GET" | "PUT" = "GET",
): Promise<string> {
  return new Promise((resolve, reject) => {
    const ask = request({ socketPath, path, method, headers: { host: "agent" }, agent: false }, (response) => {
      const chunks: Buffer[] = [];
      let size = 0;
      response.on("data", (chunk: Buffer) => {
        size += chunk.length;
        if (size > LIMIT) ask.destroy(new Error(`more than ${LIMIT} bytes`));
        else chunks.push(chunk);
      });
      response.on("error", reject);
      response.on("end", () => {
        const body = Buffer.concat(chunks).toString();
        if (response.statusCode === 200) resolve(body);
        // The question was understood as a request, and makes no sense as it stands.
        else if (response.statusCode === 400) reject(new CommandError(body.trim()));
        else reject(new CommandError(`the agent answered ${response.statusCode} to ${path}: ${body.slice(0, 300)}`));
      });
    });
    const timer = setTimeout(() => ask.destroy(new Error(`no answer within ${timeoutMs} ms`)), timeoutMs);
    ask.on("close", () => clearTimeout(timer));
    ask.on("error", (cause: NodeJS.ErrnoException) => {
      const missing = cause.code === "ENOENT" || cause.code === "ECONNREFUSED";
      const why =
        cause.code === "EACCES"
          ? `only root may ask the agent on ${socketPath}`
          : missing
            ? `no agent listens on ${socketPath}; is skylane-agent running on this node?`
            : `the agent does not answer on ${socketPath}`;
      reject(new CommandError(why, missing ? {} : { cause }));
    });
    ask.end();
  });
}

/** What the agent answers in JSON. @throws CommandError as {@link askAgent}, or when the answer is not JSON */
export async function askAgentForJson<T>(path: string, socketPath = AGENT_SOCKET, timeoutMs = 5000): Promise<T> {
  const body = await askAgent(path, socketPath, timeoutMs);
  try {
    return JSON.parse(body) as T;
  } catch (cause) {
    throw new CommandError(`the agent's answer to ${path} is not JSON (${body.length} bytes)`, { cause });
  }
}

/** The agent's status. @throws CommandError as {@link askAgentForJson} */
export const agentStatus = (socketPath = AGENT_SOCKET, timeoutMs = 5000): Promise<AgentStatus> =>
  askAgentForJson<AgentStatus>("/status", socketPath, timeoutMs);
