/**
 * `skylanectl trace`: every hop of a packet's way from a pod to another, with the kernel objects that decide it, as they should be and as they are on
 * this node. What the other node has is told by the same command there; `kubectl skylane trace` asks both and joins them.
 */
import type { SocketAddress } from "../../addr/index.ts";
import { type Command, CommandError, type Input, OUTPUT, UsageError } from "../command.ts";
import { AGENT_SOCKET } from "../agent/client.ts";
import { requireRoot } from "../root.ts";
import { isIP } from "node:net";
import { join, type Trace } from "./join.ts";
import { judgeLive } from "./live/judge.ts";
import { newMark, parseMark, protocolOf } from "./live/mark.ts";
import type { LiveHalf } from "./live/types.ts";
import type { Knowledge } from "./plan/knowledge.ts";
import type { PlannedHalf } from "./plan/plan.ts";
import type { LookedAt } from "./judge.ts";
import type { Kernel } from "./read/kernel.ts";
import { renderTrace } from "./render.ts";
import type { Half, Traffic } from "./types.ts";

export type { Trace } from "./join.ts";
export { renderTrace } from "./render.ts";
export type { Half, Hop } from "./types.ts";
export type { Live, LiveHop } from "./live/types.ts";

const PROTOCOLS = ["tcp", "udp", "sctp", "icmp"];

/** Options that say what is traced; whoever passes a trace on to nodes has the same. */
export const TRACE_OPTIONS = {
  port: { value: "N", help: "the destination's port" },
  protocol: { value: "NAME", help: "tcp (the default with --port), udp, sctp or icmp (the default without)" },
  family: { value: "4|6", help: "IPv4 or IPv6; the first that both ends have by default" },
  network: { value: "NETWORK", help: "in this pod network; the default one otherwise" },
  live: { help: "also send a marked packet in the pod's name, and show where it was seen last (default network)" },
} as const;

/** @throws UsageError */
export function trafficOf(input: Input): Traffic {
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

/** Whether a packet is sent. @throws UsageError where none can be */
export function liveOption(input: Input, traffic: Traffic): boolean {
  if (!input.flag("live")) return false;
  if ((input.text("network") ?? "default") !== "default")
    throw new UsageError(
      "--live follows packets of the default network alone: bridged networks have no packet filter on the way, further routed ones namespaces of their own",
    );
  // Says which protocols there are.
  protocolOf(traffic, 4);
  return true;
}

/** @throws UsageError */
function familyOption(input: Input): 4 | 6 | undefined {
  const text = input.text("family");
  if (text === undefined) return undefined;
  if (text !== "4" && text !== "6") throw new UsageError(`--family must be 4 or 6, not "${text}"`);
  return text === "4" ? 4 : 6;
}

/** What is made of this node: its half, and what it has seen of a marked packet. */
interface Here {
  trace: Trace;
  half: Half;
}

/** What this node knows, before it is looked at. */
interface Looked {
  knowledge: Knowledge;
  planned: PlannedHalf;
  kernel: Kernel;
  /** Looks at every step. */
  look: () => Promise<Half>;
}

/** Finds both ends. @throws CommandError */
async function withNode<T>(input: Input, work: (looked: Looked) => Promise<T>): Promise<T> {
  requireRoot("it could not enter the namespaces of pods");
  const traffic = trafficOf(input);
  const service = serviceOption(input, traffic);
  const family = familyOption(input);
  const timeoutMs = timeoutOption(input);
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
  const planned = planHalf(knowledge);
  const look = async (): Promise<Half> => {
    const { steps, ...half } = planned;
    const looked: LookedAt[] = [];
    for (const step of steps) looked.push({ step, found: await read(step, { kernel, socket, silent, timeoutMs }) });
    return { ...half, hops: judge(half.node, looked) };
  };
  return await work({ knowledge, planned, kernel, look });
}

const timeoutOption = (input: Input): number => input.number("timeout", 50, 60_000) ?? 1000;

/** This node's part of a live trace. @throws CommandError */
async function liveHere(input: Input, mark: string, { knowledge, planned, kernel }: Looked): Promise<LiveHalf> {
  const { watchHere } = await import("./live/here.ts");
  return await watchHere(knowledge, planned, { mark: parseMark(mark), kernel, timeoutMs: timeoutOption(input) });
}

/** @throws CommandError */
async function traceHere(input: Input, live: boolean): Promise<Here> {
  return await withNode(input, async (looked) => {
    const half = await looked.look();
    const trace = join(half);
    if (!live) return { trace, half };
    if (half.role === "destination")
      throw new CommandError(
        `${half.from.ip} is no pod's of ${half.node}, so that nothing can be sent from here: run trace --live on ${half.other?.node ?? "the node of the first end"}, or kubectl skylane trace --live`,
      );
    const seen = await liveHere(input, newMark(), looked);
    const unwatched =
      half.role === "both"
        ? undefined
        : `Only ${half.node} watched; kubectl skylane trace --live watches on both nodes.`;
    const judged = judgeLive(trace, looked.knowledge.traffic, seen, undefined, unwatched);
    return { trace: { ...trace, ok: trace.ok && judged.ok, live: judged }, half };
  });
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
    mark: {
      value: "HEX",
      help: "with --live, this node's part of the trace of this mark as JSON; where packets arrive, until its input ends",
    },
    config: { value: "FILE", help: "the agent's configuration (/etc/skylane/agent.yaml, when it is there)" },
    socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` },
    timeout: { value: "MS", help: "how long another node is waited for; the agent twice as long (1000)" },
  },
  details:
    "Looks at what decides about the packet on this node: the pod's route and neighbour, policies, routes, neighbour and FDB entries, the underlay, the packet filter; of another node's pod give the address. On the node of the first end it shows where packets leave, on that of the second where they arrive; kubectl skylane trace asks both. Works without the agent as far as its files tell. Changes nothing; sends an echo request, and a datagram in the tunnel, to the other node. With --live it also sends up to three packets with a mark that nobody can guess from the pod (an echo request; with --port a SYN or a datagram), and follows them and their answer by the kernel's packet tracing (nftrace), for which a table of its own is there as long as it runs; no other packet is traced. A Service is traced to the pods behind it, which kubectl skylane trace finds.\n" +
    "Exit status: 0 nothing is wrong, 1 a hop is, or it could not look, 2 wrong command line.",
  async run(input) {
    const live = liveOption(input, trafficOf(input));
    const mark = input.text("mark");
    if (mark !== undefined) {
      if (!live || !input.json) throw new UsageError("--mark is for --live with --output json");
      parseMark(mark);
      const seen = await withNode(input, (looked) => liveHere(input, mark, looked));
      process.stdout.write(`${JSON.stringify(seen)}\n`);
      return 0;
    }
    const { trace, half } = await traceHere(input, live);
    process.stdout.write(input.json ? traceJson(trace, half) : renderTrace(trace));
    return trace.ok ? 0 : 1;
  },
};
