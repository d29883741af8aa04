/** `skylanectl sysdump`: all that is to be known of this node in one file, for whoever looks into a trouble elsewhere or later. */
import { createWriteStream, openSync, unlinkSync } from "node:fs";
import type { Writable } from "node:stream";
import { AGENT_SOCKET } from "../agent/client.ts";
import { type Command, CommandError, type Input } from "../command.ts";
import { requireRoot } from "../root.ts";

/** The name of a file that is made now. @param what of whom it tells */
export const fileName = (what: string, now = new Date()): string =>
  `skylane-sysdump-${what}-${now.toISOString().replaceAll(/[-:]|\.\d+/g, "")}.tar.gz`;

/** A new file that its owner alone may read. @throws CommandError when it is there, or cannot be made */
export function newFile(path: string): Writable {
  try {
    return createWriteStream(path, { fd: openSync(path, "wx", 0o600) });
  } catch (cause) {
    throw new CommandError(`${path} cannot be made; --output names another file`, { cause });
  }
}

async function run(input: Input): Promise<number> {
  requireRoot("it would not see what the kernel has");
  const timeoutMs = input.number("timeout", 50, 60_000) ?? 1000;
  // Only this command needs these, and what they stand on.
  const [{ configuredAgent, nodeName }, { writeArchive }, { collect }, { nodeParts }] = await Promise.all([
    import("../agent/configured.ts"),
    import("./archive.ts"),
    import("./part.ts"),
    import("./node-parts.ts"),
  ]);
  const { config, socket } = configuredAgent(input);
  const node = nodeName();
  const parts = await Array.fromAsync(nodeParts(config, socket, timeoutMs));
  const now = new Date();
  const entries = collect(parts, `Skylane on node ${node} at ${now.toISOString()}`);
  const output = input.text("output") ?? fileName(node, now);
  if (output === "-") await writeArchive(entries, process.stdout, now);
  else {
    const file = newFile(output);
    try {
      await writeArchive(entries, file, now);
    } catch (error) {
      unlinkSync(output);
      throw error;
    }
    process.stdout.write(`${output}\n`);
  }
  return 0;
}

/** The command. */
export const sysdumpCommand: Command = {
  words: ["sysdump"],
  summary: "Writes all that is to be known of Skylane on this node into one archive, without secrets",
  options: {
    output: {
      value: "FILE",
      short: "o",
      help: "where to (skylane-sysdump-NODE-TIME.tar.gz here); - is standard output",
    },
    config: { value: "FILE", help: "the agent's configuration (/etc/skylane/agent.yaml, when it is there)" },
    socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` },
    timeout: { value: "MS", help: "how long a probe of doctor's waits for its answer (1000)" },
  },
  details:
    "The agent's status, readiness, metrics, policies and probes, doctor's findings, configuration, and the kernel's devices, addresses, routes, neighbours, FDB and packet filters, also of pod networks. summary.txt in it says what is there and what could not be seen. `kubectl skylane sysdump` makes one of all nodes, with logs.",
  run,
};
