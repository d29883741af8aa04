/** `skylanectl flows`: who talks to whom, as the agent of this node has seen it. */
import { socketAddress } from "../../addr/index.ts";
import type { Flow, FlowAnswer, FlowEnd, FlowsStatus } from "../../flows/index.ts";
import { AGENT_SOCKET, askAgentForJson } from "../agent/client.ts";
import { type Command, UsageError } from "../command.ts";
import { type Cell, harmless, table } from "../table.ts";

/** The agent's answer. */
export interface FlowsDocument extends FlowAnswer {
  status: FlowsStatus;
}

/** An answer to who follows comes within ten seconds. */
const PATIENCE_MS = 20_000;
const HEAD = [
  "LAST",
  "NETWORK",
  "VERDICT",
  "PROTOCOL",
  "SOURCE",
  "DESTINATION",
  "SERVICE",
  "STATE",
  "PACKETS",
  "BYTES",
  "BY",
];
const NAMES: Readonly<Record<number, string>> = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6", 132: "SCTP" };
const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000 };

function end({ ip, port, pod, node }: FlowEnd): string {
  const at = port === 0 ? ip : socketAddress({ ip, port });
  if (pod !== undefined) return `${pod} ${at}`;
  return node === undefined ? at : `${at} (${node})`;
}

function asked(service: Flow["service"]): string {
  if (!service) return "";
  const { name, portName } = service;
  const at = socketAddress(service);
  return name === undefined ? at : `${name}${portName === undefined ? "" : `:${portName}`} ${at}`;
}

function rowOf(flow: Flow): Cell[] {
  const { network, verdict, protocol, source, destination, service, state, packets, bytes, atLeast, sampled, policy } =
    flow;
  const figure = (value: number | undefined): Cell => (value === undefined ? "" : atLeast ? `>=${value}` : value);
  return [
    new Date(flow.end ?? flow.start).toISOString(),
    network,
    verdict,
    NAMES[protocol] ?? protocol,
    end(source),
    end(destination),
    asked(service),
    sampled > 1 ? `${state}, 1 of ${sampled}` : state,
    figure(packets),
    figure(bytes),
    policy,
  ];
}

/** What was left out, in words; "" for nothing. */
function leftOut({ missed, status }: Pick<FlowsDocument, "missed" | "status">): string {
  const { sampled, dropped, table: gone } = status.leftOut;
  const parts = [
    sampled > 0 && `about ${sampled} events of other connections not read (1 of ${status.sampled} is now)`,
    dropped > 0 && `${dropped} events dropped by the kernel`,
    gone > 0 && `${gone} flows gone before their end`,
    missed > 0 && `up to ${missed} changes before you asked`,
  ].filter((part) => part !== false);
  return parts.length === 0 ? "" : `Left out: ${parts.join(", ")}.\n`;
}

/** For people. */
export function renderFlows(document: FlowsDocument): string {
  const { flows, status } = document;
  const fault = status.on ? "" : `Flows are not recorded: ${harmless(status.error ?? "they are being started")}\n`;
  return `${fault}${flows.length > 0 ? table(HEAD, flows.map(rowOf)) : "No flows.\n"}${leftOut(document)}`;
}

/** A duration, "30s", "5m" or "2h", in milliseconds. @throws UsageError */
export function durationOf(text: string): number {
  const [, count, unit] = /^(\d{1,9})([smh])$/.exec(text) ?? [];
  if (count === undefined || unit === undefined)
    throw new UsageError(`--since must be a time like 30s, 5m or 2h, not "${text}"`);
  return Number(count) * (UNITS[unit] as number);
}

/** The command. */
export const flowsCommand: Command = {
  words: ["flows"],
  summary: "Shows who talks to whom: pods of this node, with bytes, verdicts and policies",
  options: {
    follow: { short: "f", help: "go on with what comes, until it is interrupted" },
    namespace: { value: "NAME", short: "n", help: "of pods of this namespace" },
    pod: { value: "NAMESPACE/NAME", help: "of this pod" },
    service: { value: "NAMESPACE/NAME", help: "to this Service, by an address or a node port of it" },
    network: { value: "NAME", help: "in this pod network" },
    verdict: { value: "VERDICT", help: "allowed or denied" },
    port: { value: "N", help: "to this port" },
    protocol: { value: "P", help: "tcp, udp, sctp, icmp, icmpv6 or a number" },
    since: { value: "TIME", help: "that changed in this time: 30s, 5m, 2h" },
    output: { value: "FORMAT", short: "o", help: "table (the default) or json, then one flow a line" },
    socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` },
  },
  details:
    "Recorded by the agent (flows: on), of the default network and of routed pod networks: the last 4,096 flows. A flow between two nodes is seen by both. What was left out is said below the table, with -o json on standard error.",
  async run(input) {
    const query = new URLSearchParams();
    for (const name of ["namespace", "pod", "service", "network", "verdict", "port", "protocol"]) {
      const value = input.text(name);
      if (value !== undefined) query.set(name, value);
    }
    const since = input.text("since");
    if (since !== undefined) query.set("since", String(Date.now() - durationOf(since)));
    for (let first = true; ; first = false) {
      const document = await askAgentForJson<FlowsDocument>(
        `/flows?${query.toString()}`,
        input.text("socket") ?? AGENT_SOCKET,
        PATIENCE_MS,
      );
      if (input.json) {
        for (const flow of document.flows) process.stdout.write(`${JSON.stringify(flow)}\n`);
        if (first || document.missed > 0) process.stderr.write(leftOut(document));
      } else if (first || document.flows.length > 0) process.stdout.write(renderFlows(document));
      if (!input.flag("follow")) return document.status.on ? 0 : 1;
      query.set("after", String(document.next));
      query.set("wait", "");
    }
  },
};
