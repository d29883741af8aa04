/** `skylanectl policy explain`: which policies a pod has, and what comes of a packet and who says so, at both ends. */
import type {
  AskedPolicy,
  ExplainedPacket,
  ExplainedPod,
  ExplainedVerdict,
  Explanation,
} from "../../enforcement/index.ts";
import { AGENT_SOCKET, askAgentForJson } from "../agent/client.ts";
import { type Command, type Input, OUTPUT, UsageError } from "../command.ts";
import { type Cell, properties, table } from "../table.ts";

const HEADINGS = ["DIRECTION", "TIER", "POLICY", "MODE", "RULES"];

function explainedPod({ pod, node, ips, ingress, egress }: ExplainedPod): string {
  const row =
    (direction: string) =>
    ({ policy, tier, priority, mode, rules }: AskedPolicy): Cell[] => [
      direction,
      priority === undefined ? tier : `${tier} ${priority}`,
      policy,
      mode,
      rules,
    ];
  const rows = [...ingress.map(row("ingress")), ...egress.map(row("egress"))];
  const about = properties([
    ["Pod", pod],
    ["Node", node],
    ["Addresses", ips.join(" ")],
    ["Ingress", ingress.length === 0 ? "open: no policy says anything about it" : "as below, in this order"],
    ["Egress", egress.length === 0 ? "open: no policy says anything about it" : "as below, in this order"],
  ]);
  return rows.length === 0 ? about : `${about}\n${table(HEADINGS, rows)}`;
}

const RULES: Readonly<Record<ExplainedVerdict["rules"], string>> = {
  "the same": "the rules in the kernel say the same",
  "something else":
    "BUT THE RULES IN THE KERNEL SAY SOMETHING ELSE: this is a fault of Skylane; please report it with this output",
  "not in force": "BUT ITS RULES ARE NOT IN FORCE: see skylanectl policy list",
  "on another node": "its rules are on its node; ask there whether they are in force",
};

function verdict(direction: string, said: ExplainedVerdict | undefined): [string, string][] {
  if (!said) return [[direction, "no pod of policies is at that end, so nothing is said"]];
  const { pod, allowed, why, audit, rules } = said;
  return [
    [direction, `${allowed ? "allowed" : "DENIED"} at pod ${pod}: ${why}`],
    ...(audit === undefined ? [] : [[`${direction}, audit mode`, audit] as [string, string]]),
    [`${direction}, kernel`, RULES[rules]],
  ];
}

function explainedPacket({ source, destination, protocol, port, allowed, egress, ingress }: ExplainedPacket): string {
  return properties([
    ["From", `${source.ip}, ${source.who}`],
    ["To", `${destination.ip}, ${destination.who}`],
    ["Traffic", port === undefined ? protocol : `${protocol} port ${port}`],
    ["Verdict", allowed ? "it passes" : "it is DENIED"],
    ...verdict("Egress", egress),
    ...verdict("Ingress", ingress),
  ]);
}

/** The answer for people. */
export function renderExplanation({ presence, message, pod, packets }: Explanation): string {
  if (presence === "none") return `${message}: everything passes\n`;
  if (pod) return explainedPod(pod);
  if (packets && packets.length > 0) return packets.map(explainedPacket).join("\n");
  return packets ? "the two ends have no address family in common\n" : `${message}\n`;
}

/** The request for what the command line asks. @throws UsageError */
export function explainRequest(input: Input): string {
  const [pod] = input.operands as [string];
  const [from, to] = [input.text("from"), input.text("to")];
  const [port, protocol] = [input.number("port", 1, 65_535), input.text("protocol")?.toLowerCase()];
  const name = input.text("network");
  const network: Record<string, string> = name === undefined ? {} : { network: name };
  if (from !== undefined && to !== undefined) throw new UsageError("take --from or --to: the pod is the other end");
  if (from === undefined && to === undefined) {
    if (port !== undefined || protocol !== undefined) throw new UsageError("a port needs a peer: --from or --to");
    return `/policies/explain?${new URLSearchParams({ pod: qualified(pod), ...network }).toString()}`;
  }
  if (port === undefined && protocol !== "icmp") throw new UsageError("say which --port; for a ping, --protocol icmp");
  const [namespace] = qualified(pod).split("/");
  const ends =
    from === undefined
      ? { from: qualified(pod), to: qualified(to as string, namespace) }
      : { from: qualified(from, namespace), to: qualified(pod) };
  return `/policies/explain?${new URLSearchParams({
    ...ends,
    ...network,
    ...(protocol !== undefined && { protocol }),
    ...(port !== undefined && { port: String(port) }),
  }).toString()}`;
}

/** A name without a namespace is one of "default", or of the pod that is asked about; addresses are what they are. */
const qualified = (name: string, namespace = "default"): string =>
  name.includes("/") || name.includes(":") || /^\d+(\.\d+){3}$/.test(name) ? name : `${namespace}/${name}`;

/** The command; exit status 1 where a packet is denied. */
export const policyExplainCommand: Command = {
  words: ["policy", "explain"],
  summary: "Explains which network policies a pod has, or why a packet passes or not",
  operands: "[NAMESPACE/]POD|IP",
  count: [1, 1],
  options: {
    ...OUTPUT,
    from: { value: "PEER", help: "what comes of a packet from this pod or address to POD" },
    to: { value: "PEER", help: "what comes of a packet from POD to this pod or address" },
    port: { value: "N", help: "the destination's port, of pods and not of Services" },
    protocol: { value: "NAME", help: "tcp (the default), udp, sctp or icmp" },
    network: { value: "NETWORK", help: "in this pod network, of which the node has pods; the default one otherwise" },
    socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` },
  },
  details:
    "Pods may be anywhere in the cluster; whether rules are in force is known of this node's.\n" +
    "Exit status: 0 it passes, or no packet was asked about, 1 it is denied, or nobody can tell, 2 wrong command line.",
  async run(input) {
    const explanation = await askAgentForJson<Explanation>(explainRequest(input), input.text("socket"));
    process.stdout.write(input.json ? `${JSON.stringify(explanation, null, 2)}\n` : renderExplanation(explanation));
    const denied = explanation.packets?.some(({ allowed }) => !allowed) ?? false;
    return denied || explanation.presence === "unknown" ? 1 : 0;
  },
};
