/**
 * `skylanectl doctor`: looks at this node, its kernel and the way to its peers, and names what is wrong with its
 * meaning and its cure. It changes nothing: what must be tried is tried in a namespace that goes with the process.
 */
import { AGENT_SOCKET, agentStatus } from "../agent/client.ts";
import { type Command, CommandError, type Input, OUTPUT, UsageError } from "../command.ts";
import { requireRoot } from "../root.ts";
import { diagnose } from "./diagnose.ts";
import { count, render } from "./finding.ts";

/** @throws UsageError when the node is no peer of this one, CommandError when that cannot be known or it was refused */
async function mustBePeer(node: string, socket: string): Promise<void> {
  const { node: own, networks } = await agentStatus(socket);
  const { peers = [], refused = [] } = networks[0] ?? {};
  if (peers.some((peer) => peer.node === node)) return;
  if (node === own) throw new UsageError(`${node} is this node itself; --peer names another one`);
  const why = refused.find((one) => one.node === node);
  if (why) throw new CommandError(`${node} is refused as a peer: ${why.reason}: ${why.message}`);
  const known = peers.length === 0 ? "it has none" : `skylanectl status lists all ${peers.length}`;
  throw new UsageError(`this node has no peer "${node}"; ${known}`);
}

async function run(input: Input): Promise<number> {
  requireRoot("what it would not see then, it would take for missing; nothing was diagnosed");
  const timeoutMs = input.number("timeout", 50, 60_000) ?? 1000;
  const { json } = input;
  // Only commands that need a configuration need what reads one.
  const { configuredAgent } = await import("../agent/configured.ts");
  const { config, socket } = configuredAgent(input);
  const only = input.text("peer");
  if (only !== undefined) await mustBePeer(only, socket);
  const { facts, findings } = await diagnose(config, { socket, timeoutMs, only });
  const { fail } = count(findings);
  process.stdout.write(
    json ? `${JSON.stringify({ ok: fail === 0, findings, peers: facts.peers }, null, 2)}\n` : render(findings),
  );
  return fail === 0 ? 0 : 1;
}

/** The command; exit status 1 when something fails. */
export const doctorCommand: Command = {
  words: ["doctor"],
  summary: "Looks for what is wrong on this node and on the way to its peers, with causes and cures",
  options: {
    ...OUTPUT,
    config: { value: "FILE", help: "the agent's configuration (/etc/skylane/agent.yaml, when it is there)" },
    socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` },
    peer: { value: "NODE", help: "probe this peer only" },
    timeout: { value: "MS", help: "how long a probe waits for its answer (1000)" },
  },
  details:
    "Kernel features, parameters, ports, leftovers of other CNI plugins, packet filters, network managers; then each peer, inside the tunnel and beside it, with small packets and with full ones. Changes nothing. Exit status: 0 nothing fails (there may be warnings), 1 something does, or it could not look (not root), 2 wrong command line or no such peer.",
  run,
};
