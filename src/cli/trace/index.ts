/**
 * `skylanectl trace`: every hop of a packet's way from a pod to another, with the kernel objects that decide it, as they should be and as they are on
 * this node. What the other node has is told by the same command there; `kubectl skylane trace` asks both and joins them.
 */
import type { SocketAddress } from "../../addr/index.ts";
import { type Command, type Input, OUTPUT, UsageError } from "../command.ts";
import { AGENT_SOCKET } from "../agent/client.ts";
import { requireRoot } from "../root.ts";
import { isIP } from "node:net";
import { join, type Trace } from "./join.ts";
import { renderTrace } from "./render.ts";
import type { Half, Traffic } from "./types.ts";

export type { Trace } from "./join.ts";
export { renderTrace } from "./render.ts";
export type { Half, Hop } from "./types.ts";

const PROTOCOLS = ["tcp", "udp", "sctp", "icmp"];

/** Options that say what is traced; whoever passes a trace on to nodes has the same. */
export const TRACE_OPTIONS = {
  port: { value: "N", help: "the destination's port" },
  protocol: { value: "NAME", help: "tcp (the default with --port), udp, sctp or icmp (the default without)" },
  family: { value: "4|6", help: "IPv4 or IPv6; the first that both ends have by default" },
  network: { value: "NETWORK", help: "in this pod network; the default one otherwise" },
} as const;

/** @throws UsageError */
function trafficOf(input: Input): Traffic {
  const port = input.number("port", 1, 65_535);
  const protocol = input.text("protocol")?.toLowerCase() ?? (port === undefined ? "icmp" : "tcp");
  if (!PROTOCOLS.includes(protocol)) throw new UsageError(`--protocol must be one of ${PROTOCOLS.join(", ")}`);
  if (protocol === "icmp" && port !== undefined) throw new UsageError("icmp has no ports");
  if (protocol !== "icmp" && port === undefined) throw new UsageError("say which --port");
  return { protocol, port };
}

/** @throws UsageError */
function serviceOption(input: Input, { port }: Traffic): SocketAddress | undefined {
  const text = input.text("service");
  if (text === undefined) return undefined;
  const [, six, four = "", number] = /^(?:\[([^\]]+)\]|([^:]+)):(\d{1,5})$/.exec(text) ?? [];
  const service = { ip: six ?? four, port: Number(number) };
  if (isIP(service.ip) === 0 || !(service.port >= 1 && service.port <= 65_535))
    throw new UsageError(`--service must be an address and a port, such as 10.96.0.10:53, not "${text}"`);
  if (port === undefined) throw new UsageError("with --service, say which --port the pod has behind it");
  if ((input.text("network") ?? "default") !== "default")
    throw new UsageError("Services are in the default network alone");
  return service;
}

/** @throws UsageError */
function familyOption(input: Input): 4 | 6 | undefined {
  const text = input.text("family");
  if (text === undefined) return undefined;
  if (text !== "4" && text !== "6") throw new UsageError(`--family must be 4 or 6, not "${text}"`);
  return text === "4" ? 4 : 6;
}

/** This node's half. @throws CommandError */
async function halfHere(input: Input): Promise<Half> {
  requireRoot("it could not enter the namespaces of pods");
  const traffic = trafficOf(input);
  const service = serviceOption(input, traffic);
  const family = familyOption(input);
  const timeoutMs = input.number("timeout", 50, 60_000) ?? 1000;
  const [from, to] = input.operands as [string, string];
  // Only this command needs the agent's code and what that stands on.
  const [{ configuredAgent }, { cachePath }, { gather }, { planHalf }, { read }, { judge }, { Kernel }] =
    await Promise.all([
      import("../agent/configured.ts"),
      import("../../nodes/index.ts"),
      import("./read/gather.ts"),
      import("./plan/plan.ts"),
      import("./read/read.ts"),
      import("./judge.ts"),
      import("./read/kernel.ts"),
    ]);
  const { config, socket } = configuredAgent(input);
  const { runDir, dataDir } = config;
  const network = input.text("network") ?? "default";
  using kernel = new Kernel();
  const asked = {
    from,
    to,
    network,
    family,
    traffic,
    service,
    socket,
    runDir,
    dataDir,
    timeoutMs,
    cacheFile: (one: string) => cachePath(dataDir, one),
  };
  const { knowledge, silent } = await gather(asked, kernel);
  const { steps, ...half } = planHalf(knowledge);
  const hops: Half["hops"] = [];
  for (const step of steps) hops.push(judge(half.node, step, await read(step, { kernel, socket, silent, timeoutMs })));
  return { ...half, hops };
}

/** A trace as JSON: with the half that it is made of, where that is one node's, for whoever joins it. */
const traceJson = (trace: Trace, half: Half): string => `${JSON.stringify({ ...trace, half }, null, 2)}\n`;

/** The command; exit status 1 when a hop is wrong. */
export const traceCommand: Command = {
  words: ["trace"],
  summary: "Follows a packet from pod to pod, hop by hop, and names the first that is wrong",
  operands: "POD|IP POD|IP",
  count: [2, 2],
  options: {
    ...OUTPUT,
    ...TRACE_OPTIONS,
    service: {
      value: "IP:PORT",
      help: "the sender uses this Service, which the second end is behind: also looks at what connection tracking made of it",
    },
    config: { value: "FILE", help: "the agent's configuration (/etc/skylane/agent.yaml, when it is there)" },
    socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` },
    timeout: { value: "MS", help: "how long another node is waited for; the agent twice as long (1000)" },
  },
  details:
    "Looks at what decides about the packet on this node: the pod's route and neighbour, policies, routes, neighbour and FDB entries, the underlay, the packet filter; of another node's pod give the address. On the node of the first end it shows where packets leave, on that of the second where they arrive; kubectl skylane trace asks both. Works without the agent as far as its files tell. Changes nothing; sends an echo request, and a datagram in the tunnel, to the other node. A Service is traced to the pods behind it, which kubectl skylane trace finds.\n" +
    "Exit status: 0 nothing is wrong, 1 a hop is, or it could not look, 2 wrong command line.",
  async run(input) {
    const half = await halfHere(input);
    const trace = join(half);
    process.stdout.write(input.json ? traceJson(trace, half) : renderTrace(trace));
    return trace.ok ? 0 : 1;
  },
};
