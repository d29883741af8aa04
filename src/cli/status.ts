/**
 * `skylanectl status`: what the agent of this node knows, as tables that answer an operator's questions in order:
 * is it ready, and if not, why; what is my VTEP; which peers are programmed; what was refused; what was repaired.
 */
import { type AgentStatus, AGENT_SOCKET, agentStatus, type NetworkStatus } from "./agent/client.ts";
import { type Command, CommandError, OUTPUT } from "./command.ts";
import { age, type Cell, properties, table } from "./table.ts";

const counts = (byKind: Record<string, number>): string =>
  Object.entries(byKind)
    .filter(([, n]) => n > 0)
    .map(([kind, n]) => `${kind} ${n}`)
    .join(", ");

function network(n: NetworkStatus): string {
  const entries = Object.entries(n.entries).map(([kind, { expected, present }]): Cell[] => [kind, expected, present]);
  const repairs = counts(n.repairs.byKind);
  const peers = n.peers.map((p): Cell[] => [p.node, p.state, p.underlayIp, p.mac, p.podCidrs.join(" "), p.error ?? ""]);
  const hasErrors = n.peers.some((p) => p.error);
  return [
    `\nNETWORK ${n.network}: ${n.ready ? "ready" : "not ready"}\n`,
    properties([
      ["VTEP", `${n.device}  ${n.mac}  MTU ${n.mtu}`],
      ["VXLAN", `VNI ${n.vni}, UDP port ${n.port}, from ${n.underlayIp}`],
      ["Pod CIDRs", n.podCidrs.join(" ")],
      ...(n.fastPath ? ([["Fast path", fastPathLine(n.fastPath)]] as const) : []),
      ["Repairs", repairs ? `${n.repairs.total} (${repairs})` : n.repairs.total],
    ]),
    `\n${table(["ENTRIES", "EXPECTED", "PRESENT"], entries)}`,
    n.peers.length > 0
      ? `\n${table(["PEER", "STATE", "UNDERLAY", "VTEP MAC", "POD CIDRS", ...(hasErrors ? ["ERROR"] : [])], peers)}`
      : "\nNo peers.\n",
    n.refused.length > 0
      ? `\n${table(
          ["REFUSED", "REASON", "MESSAGE"],
          n.refused.map((r) => [r.node, r.reason, r.message]),
        )}`
      : "",
    n.losses !== undefined && n.losses.length > 0
      ? `\n${table(
          ["PREFERRED", "WHAT OF THIS NODE THE OTHERS GIVE TO IT"],
          n.losses.map((loss) => [loss.node, loss.message]),
        )}`
      : "",
    n.outside !== undefined && n.outside.length > 0
      ? `\n${table(
          ["POD", "ADDRESS", "WHY IT HAS TO BE MADE AGAIN (kubectl delete pod)"],
          n.outside.map(({ pod, ip, why }) => [pod, ip, why]),
        )}`
      : "",
    n.fastPath ? fastPath(n.fastPath) : "",
  ].join("");
}

type FastPath = NonNullable<AgentStatus["fastPath"]>;

const fastPathLine = ({ on, message, pods, prefixes }: FastPath): string =>
  on ? `on, ${pods} links of pods, ${prefixes} prefixes of peers (${message})` : `off: ${message}`;

type Probes = NonNullable<AgentStatus["probes"]>;

const probesLine = ({ on, message, peers, verdicts }: Probes): string =>
  on
    ? `${peers.measured} of ${peers.all} peers measured, ${verdicts.length === 0 ? "none at fault" : `${peers.faulty} at fault`} (${message})`
    : `off: ${message}`;

type Flows = NonNullable<AgentStatus["flows"]>;

const flowsLine = ({ on, error, flows, sampled, leftOut }: Flows): string => {
  if (!on) return `not recorded: ${error ?? "the agent begins to listen"}`;
  const left = leftOut.sampled + leftOut.dropped + leftOut.table;
  return `${flows} remembered, one in ${sampled} connections read, about ${left} events left out`;
};

/** What became of packets, and who is on the ordinary path all the same. */
function fastPath({ packets, ordinary }: FastPath): string {
  return [
    packets.length > 0
      ? `\n${table(
          ["PACKETS FROM", "PATH", "OUTCOME", "COUNT"],
          packets.map(({ from, path, outcome, packets: count }): Cell[] => [from, path, outcome, count]),
        )}`
      : "",
    ordinary.length > 0
      ? `\n${table(
          ["ON THE ORDINARY PATH", "WHY"],
          ordinary.map(({ what, why }) => [what, why]),
        )}`
      : "",
  ].join("");
}

type Encryption = NonNullable<AgentStatus["encryption"]>;

const encryptionLine = ({ mode, ready, message, publicKey, port }: Encryption): string =>
  ready
    ? `${mode}, ${message} (UDP port ${port}, public key ${publicKey ?? "none"})`
    : `${mode}, not in force: ${message}`;

/** How old the key is, and whether another one takes its place. */
function keyLine({ keySeconds = 0, keyDays, rotation }: Encryption): string {
  const old = `${age(keySeconds)} old, ${keyDays === 0 ? "changed by command alone" : `changed after ${keyDays} days`}`;
  if (!rotation) return old;
  const { publicKey, seconds, standsStill, awaited } = rotation;
  const left =
    awaited.length === 0 ? "nearly done" : `${awaited.length} ${awaited.length === 1 ? "node" : "nodes"} left`;
  return `${old}; goes over to ${publicKey} since ${age(seconds)}: ${standsStill ? "stands still, " : ""}${left}`;
}

/** What becomes of what goes to each node, when both last agreed on keys, and how far the change of a key is. */
function encryption({ peers, rotation }: Encryption): string {
  if (peers.length === 0) return "";
  const changes = peers.some((peer) => peer.rotation !== undefined);
  const rows = peers.map(({ node, state, handshakeSeconds, why = "", rotation: phase, device }): Cell[] => [
    node,
    state,
    handshakeSeconds === undefined ? "" : `${age(handshakeSeconds)} ago`,
    ...(changes ? [device ?? "", phase ?? ""] : []),
    why,
  ]);
  const awaited = rotation?.awaited ?? [];
  return [
    `\n${table(["TO NODE", "IS", "HANDSHAKE", ...(changes ? ["BY", "NEWEST KEYS"] : []), "WHY"], rows)}`,
    awaited.length > 0
      ? `\n${table(
          ["OLD KEY KEPT FOR", "WHY"],
          awaited.map(({ node, why }) => [node, why]),
        )}`
      : "",
  ].join("");
}

type HostPorts = NonNullable<AgentStatus["hostPorts"]>;

const hostPortsLine = ({ inPlace, error, ports }: HostPorts): string =>
  `${ports.length === 0 ? "none" : ports.length}${inPlace || ports.length === 0 ? "" : `, not in place: ${error ?? "being put there"}`}`;

function hostPorts({ ports }: HostPorts): string {
  if (ports.length === 0) return "";
  const rows = ports.map(({ port, to, pod, container }): Cell[] => [port, to.join(" "), pod ?? container]);
  return `\n${table(["HOST PORT", "TO", "POD"], rows)}`;
}

type Egress = NonNullable<AgentStatus["egress"]>;

const egressLine = ({ message, gateways, addresses, faults }: Egress): string => {
  const parts = [
    message ?? `${gateways.length}`,
    ...(addresses.length > 0 ? [`this node has ${addresses.join(", ")}`] : []),
    ...(faults.length > 0 ? [`not in place: ${faults.map(({ entry, why }) => `${entry} (${why})`).join("; ")}`] : []),
  ];
  return parts.join("; ");
};

/** Who has which address, and which pods of this node leave how. */
function egress({ gateways }: Egress): string {
  const addresses = gateways.flatMap(({ gateway, network = "", addresses: those, why, noWayOut }): Cell[][] => {
    const wrong = why ?? noWayOut ?? "";
    return those.length === 0
      ? [[gateway, network, "", "", "", wrong]]
      : those.map(({ address, node, pods }): Cell[] => [gateway, network, address, node ?? "nobody", pods, wrong]);
  });
  const pods = gateways.flatMap(({ gateway, pods: those }) =>
    those.map(({ pod, ip, address, node }): Cell[] => [pod, ip, gateway, address ?? "none", node ?? "nobody"]),
  );
  return [
    `\n${table(["EGRESS GATEWAY", "NETWORK", "ADDRESS", "NODE", "PODS", "WHAT IS WRONG"], addresses)}`,
    pods.length > 0 ? `\n${table(["POD", "ADDRESS", "LEAVES BY", "BEHIND", "THROUGH"], pods)}` : "",
  ].join("");
}

type Bandwidth = NonNullable<AgentStatus["bandwidth"]>;

const bandwidthLine = ({ limits, faults = [] }: Bandwidth): string => {
  const lost = limits.filter(({ error }) => error !== undefined).length;
  const parts = [
    limits.length === 0 ? "none" : `${limits.length}`,
    ...(lost > 0 ? [`${lost} not in force`] : []),
    ...(faults.length > 0 ? [`${faults.length} invalid`] : []),
  ];
  return parts.join(", ");
};

function bandwidth({ limits, faults = [] }: Bandwidth): string {
  const rows = limits.map(({ pod, container, interface: ifname, ingress = "", egress = "", error = "" }): Cell[] => [
    pod ?? container,
    ifname,
    ingress,
    egress,
    error,
  ]);
  const wrong = faults.map(({ pod, why }): Cell[] => [pod, "", "", "", why]);
  if (rows.length + wrong.length === 0) return "";
  return `\n${table(["BANDWIDTH OF", "INTERFACE", "INGRESS", "EGRESS", "ERROR"], [...rows, ...wrong])}`;
}

/** Networks beside the default one have a line each: of them a node may have hundreds. */
export const NETWORK_HEADINGS = ["NETWORK", "VNI", "MODE", "PEERS", "READY", "ERROR"] as const;

/** Such a line: of the peers, those that are programmed and all. */
export const furtherRow = ({ network, vni, mode, peers, refused, ready, error }: NetworkStatus): Cell[] => [
  network,
  vni,
  mode,
  `${peers.filter(({ state }) => state === "programmed").length}/${peers.length}`,
  ready ? "yes" : "no",
  error ?? (refused.length > 0 ? `${refused.length} refused` : ""),
];

/**
 * The whole status for people, who read it at `now` (milliseconds since 1970).
 * @param only the network to show, whole. @throws CommandError when this node has no part in it
 */
export function renderStatus(status: AgentStatus, now = Date.now(), only?: string): string {
  const [first, ...further] = status.networks;
  const shown = only === undefined ? first : status.networks.find(({ network: name }) => name === only);
  if (only !== undefined && !shown) throw new CommandError(`this node has no part in a pod network "${only}"`);
  const { api, ready } = status;
  const sync = api.lastSync;
  const failed = ready.checks.filter(({ ok }) => !ok);
  return [
    properties([
      ["Node", status.node],
      ["Agent", `${status.version}, up ${age(status.uptimeSeconds)}`],
      ["Ready", ready.ready ? "yes" : "no"],
      // In step means now; only what is over has a time.
      ["API server", sync && api.state !== "synced" ? `${api.state}, last in step ${lastSync(sync, now)}` : api.state],
      ...(status.policies ? ([["Policies", status.policies.message]] as const) : []),
      ...(status.hostPorts ? ([["Host ports", hostPortsLine(status.hostPorts)]] as const) : []),
      ...(status.bandwidth ? ([["Bandwidth limits", bandwidthLine(status.bandwidth)]] as const) : []),
      ...(status.egress ? ([["Egress gateways", egressLine(status.egress)]] as const) : []),
      ...(status.encryption ? ([["Encryption", encryptionLine(status.encryption)]] as const) : []),
      ...(status.encryption?.publicKey ? ([["Its key", keyLine(status.encryption)]] as const) : []),
      ...(status.fastPath ? ([["Fast path", fastPathLine(status.fastPath)]] as const) : []),
      ...(status.flows ? ([["Flows", flowsLine(status.flows)]] as const) : []),
      ...(status.probes ? ([["Probes", probesLine(status.probes)]] as const) : []),
    ]),
    failed.length > 0
      ? `\n${table(
          ["NOT READY", "WHY"],
          failed.map(({ name, message }) => [name, message]),
        )}`
      : "",
    status.probes && status.probes.verdicts.length > 0
      ? `\n${table(
          ["WRONG BETWEEN NODES", "CURE"],
          status.probes.verdicts.map(({ found, cure }) => [found, cure]),
        )}`
      : "",
    shown ? network(shown) : "",
    status.encryption && only === undefined ? encryption(status.encryption) : "",
    status.hostPorts && only === undefined ? hostPorts(status.hostPorts) : "",
    status.bandwidth && only === undefined ? bandwidth(status.bandwidth) : "",
    status.egress && only === undefined ? egress(status.egress) : "",
    status.fastPath && only === undefined ? fastPath(status.fastPath) : "",
    only === undefined && further.length > 0 ? `\n${table(NETWORK_HEADINGS, further.map(furtherRow))}` : "",
  ].join("");
}

function lastSync(when: string, now: number): string {
  const time = Date.parse(when);
  return Number.isFinite(time) ? `${age((now - time) / 1000)} ago` : when;
}

/** The command; exit status 1 when the agent is there but not ready. */
export const statusCommand: Command = {
  words: ["status"],
  summary: "Shows how Skylane is on this node",
  options: {
    ...OUTPUT,
    network: { value: "NAME", help: "one network, with its peers (the default one; of the others a line each)" },
    socket: { value: "PATH", help: `the agent's socket (${AGENT_SOCKET})` },
  },
  details: "Exit status: 0 ready, 1 not ready or no agent, 2 wrong command line.",
  async run(input) {
    const status = await agentStatus(input.text("socket") ?? AGENT_SOCKET);
    process.stdout.write(
      input.json ? `${JSON.stringify(status, null, 2)}\n` : renderStatus(status, Date.now(), input.text("network")),
    );
    return status.ready.ready ? 0 : 1;
  },
};
