/** Places between which traffic flows, on one wire each: pods of Skylane as it is, of flannel's layout, and a VXLAN device without any pods. */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { BenchAgent } from "../simulator/agent.ts";
import type { Cluster } from "../simulator/cluster.ts";
import { BIN, type Context, native } from "./context.ts";
import { cable, type Namespace, namespace } from "./namespace.ts";
import { type Call, runCalls } from "./plugins.ts";
import { ended, until } from "./process.ts";

const PORT = "5201";
/** Of every pod and tunnel here: what the agent makes of a wire of 1500. */
export const MTU = "1450";
export const SLICE_MS = 200;

/** Two places between which traffic can flow. */
export interface Path {
  name: string;
  from: Namespace;
  to: Namespace;
  address: string;
  /** Where traffic leaves `from`. */
  device: string;
}

/** Pods that are there beside those that are measured, as none of them could tell without looking. */
async function crowd(
  context: Context,
  meter: string,
  agent: BenchAgent,
  add: Omit<Call, "containerId" | "netns">,
  count: number,
): Promise<void> {
  const calls = Array.from({ length: count }, (_, n) => ({
    ...add,
    containerId: `crowd${n}`,
    netns: namespace(context, "crowd").path,
  }));
  await runCalls(meter, agent.ns.path, calls);
}

/**
 * Pods of both families on two nodes with real agents, one on the first and two on the second. @param first the first node's last octet; each pair has its own.
 * @param more further pods of each node
 */
export async function skylane(
  context: Context,
  cluster: Cluster,
  {
    first: octet,
    more = 0,
    fastPath = "off",
    ...others
  }: { first: number; fastPath?: "auto" | "off"; encryption?: "wireguard"; more?: number },
): Promise<SkylanePaths> {
  const { kubeconfig } = cluster.files(join(context.dir, "access"));
  const meter = native(context, "meter");
  const config = { fastPath, ...others };
  const agents = [octet, octet + 1].map((octet) => {
    const who = { name: `node${octet}`, ip: `172.30.0.${octet}`, podCidr: `10.0.${octet}.0/24`, kubeconfig, config };
    return new BenchAgent(context, cluster.machine(who.name, octet), who);
  });
  for (const { name, ip, podCidr } of agents) {
    const podCidr6 = `fd00:10:${ip.split(".")[3]}::/64`;
    await cluster.ask({ what: "own", name, ip, podCidr, podCidr6 });
  }
  for (const agent of agents) agent.start();
  for (const agent of agents) await agent.ready();
  const [first, second] = agents as [BenchAgent, BenchAgent];
  for (const [one, other] of [[first, second] as const, [second, first] as const])
    await until("a route between the nodes", 20_000, () => one.ns.exec("ip", "route").includes(other.podCidr));
  const pods: { ns: Namespace; addresses: string[] }[] = [];
  for (const [at, agent] of [first, second, second].entries()) {
    const pod = namespace(context, `pod${octet}x${at}`);
    const config = {
      cniVersion: "1.0.0",
      name: "skylane",
      type: "skylane",
      runDir: agent.runDir,
      dataDir: agent.dataDir,
    };
    const add = { path: join(BIN, "skylane"), command: "ADD" as const, config };
    // Some of them before those that are measured, the rest after.
    if (at < 2) await crowd(context, meter, agent, add, more);
    const call = { ...add, containerId: `pod${at}`, netns: pod.path };
    const [result] = (await runCalls(meter, agent.ns.path, [call])).results;
    const { ips } = JSON.parse(result?.stdout ?? "{}") as { ips: { address: string }[] };
    pods.push({ ns: pod, addresses: ips.map(({ address }) => address.replace(/\/.*/, "")) });
  }
  if (fastPath === "auto")
    for (const agent of agents) await until("the fast path", 20_000, () => agent.log.includes("the fast path is on"));
  if (others.encryption)
    for (const agent of agents)
      await until("encryption", 60_000, async () => (await agent.get("/status")).body.includes('"state":"encrypted"'));
  const [from, to, near] = pods as [(typeof pods)[0], (typeof pods)[0], (typeof pods)[0]];
  const name =
    fastPath === "auto"
      ? "skylane with its fast path"
      : others.encryption
        ? "skylane, its tunnels encrypted"
        : "skylane";
  const [address = "", address6 = ""] = to.addresses;
  const way = { to: to.ns, address, device: "eth0" };
  const across = { name, from: from.ns, ...way };
  return {
    across,
    across6: { ...across, address: address6 },
    near: { name: `${name}, on one node`, from: near.ns, ...way },
    nodes: [first.ns, second.ns],
  };
}

/** Between two pods on two nodes, and to the same pod from one on its own node. */
export interface SkylanePaths {
  across: Path;
  /** The same by the pods' IPv6 addresses. */
  across6: Path;
  near: Path;
  /** The node of the pod from which it is measured across nodes, and that of the other two. */
  nodes: Nodes;
}

type Nodes = readonly [Namespace, Namespace];

/** A VXLAN device between two nodes as it is. @param octets of the nodes' addresses */
export function bare(nodes: Nodes, octets: readonly [number, number]): Path {
  for (const [at, node] of nodes.entries()) {
    const ends = ["local", `172.30.0.${octets[at]}`, "remote", `172.30.0.${octets[1 - at]}`];
    node.exec("ip", "link", "add", "vx", "mtu", MTU, "type", "vxlan", "id", "100", "dstport", "8472", ...ends);
    node.exec("ip", "addr", "add", `10.99.0.${1 + at}/24`, "dev", "vx");
    node.exec("ip", "addr", "add", `fd99::${1 + at}/64`, "dev", "vx", "nodad");
    node.exec("ip", "link", "set", "vx", "up");
  }
  return { name: "bare VXLAN between the nodes", from: nodes[0], to: nodes[1], address: "10.99.0.2", device: "vx" };
}

/** The same path by another address. */
export const toAddress = (path: Path, address: string): Path => ({ ...path, address });

/**
 * Rules for a Service on the node where connections to it begin, like those that kube-proxy makes with nftables: a map from address and port leads to the chain of an
 * endpoint, and what connection tracking holds for no part of a connection is dropped.
 */
export function serviceRules(node: Namespace, clusterIp: string, endpoint: string): void {
  const of = (port: number): string => `${clusterIp} . tcp . ${port} : goto service-${port}`;
  const chain = (port: number): string => `  chain service-${port} { meta l4proto tcp dnat to ${endpoint}:${port}; }`;
  node.exec(
    "nft",
    `table ip service {
${PORTS.map(chain).join("\n")}
  map service-ips { type ipv4_addr . inet_proto . inet_service : verdict; elements = { ${PORTS.map(of).join(", ")} }; }
  chain services { ip daddr . meta l4proto . th dport vmap @service-ips; }
  chain nat-prerouting { type nat hook prerouting priority dstnat; jump services; }
  chain nat-output { type nat hook output priority -100; jump services; }
  chain forward { type filter hook forward priority filter; ct state invalid drop; }
}`,
  );
}

/** What flannel and its CNI plugin make, with or without its rules. */
export function flannel(context: Context, nodes: Nodes, octets: readonly [number, number], rules: boolean): Path {
  const mac = (at: number): string => `02:00:00:00:42:0${at}`;
  const pods = nodes.map((node, at) => {
    const other = 1 - at;
    const ip = (...args: string[]): string => node.exec("ip", ...args);
    node.exec("sysctl", "-qw", "net.ipv4.ip_forward=1");
    const vxlan = ["type", "vxlan", "id", "1", "dstport", "8472", "local", `172.30.0.${octets[at]}`, "nolearning"];
    ip("link", "add", "flannel.1", "address", mac(at), "mtu", MTU, ...vxlan);
    ip("addr", "add", `10.42.${at}.0/32`, "dev", "flannel.1");
    ip("link", "set", "flannel.1", "up");
    node.exec("bridge", "fdb", "add", mac(other), "dev", "flannel.1", "dst", `172.30.0.${octets[other]}`);
    ip("neigh", "add", `10.42.${other}.0`, "lladdr", mac(other), "dev", "flannel.1", "nud", "permanent");
    ip("route", "add", `10.42.${other}.0/24`, "via", `10.42.${other}.0`, "dev", "flannel.1", "onlink");
    return flannelPod(context, node, at, MTU, rules);
  }) as [Namespace, Namespace];
  const name = rules ? "flannel: bridge + veth + VXLAN + its rules" : "flannel's layout without its rules";
  return { name, from: pods[0], to: pods[1], address: "10.42.1.2", device: "eth0" };
}

/** A pod on a bridge as flannel's CNI plugin has it, and the node's rules. @param at the first or the second node */
export function flannelPod(context: Context, node: Namespace, at: number, mtu: string, rules: boolean): Namespace {
  const ip = (...args: string[]): string => node.exec("ip", ...args);
  ip("link", "add", "cni0", "mtu", mtu, "type", "bridge");
  ip("addr", "add", `10.42.${at}.1/24`, "dev", "cni0");
  ip("link", "set", "cni0", "up");
  const pod = namespace(context, `flannel${at}`);
  cable(node, "pod", pod, "eth0");
  ip("link", "set", "pod", "mtu", mtu, "master", "cni0");
  pod.exec("ip", "link", "set", "eth0", "mtu", mtu);
  pod.exec("ip", "addr", "add", `10.42.${at}.2/24`, "dev", "eth0");
  pod.exec("ip", "route", "add", "default", "via", `10.42.${at}.1`);
  if (rules) node.exec("nft", flannelRules("10.42.0.0/16", `10.42.${at}.0/24`));
  return pod;
}

/** flannel's table for one family. @see https://github.com/flannel-io/flannel/blob/master/pkg/trafficmngr/nftables/nftables.go */
const flannelRules = (cluster: string, pods: string): string => `table ip flannel-ipv4 {
  chain forward {
    type filter hook forward priority filter
    ip saddr ${cluster} accept
    ip daddr ${cluster} accept
  }
  chain postrtg {
    type nat hook postrouting priority srcnat
    meta mark 0x4000 return
    ip saddr ${pods} ip daddr ${cluster} return
    ip saddr ${cluster} ip daddr ${pods} return
    ip saddr != ${pods} ip daddr ${cluster} return
    ip saddr ${cluster} ip daddr != 224.0.0.0/4 masquerade fully-random
    ip saddr != ${cluster} ip daddr ${cluster} masquerade fully-random
  }
}`;

export const MODES = ["stream", "request", "exchange"] as const;
export type Mode = (typeof MODES)[number];
/** What a mode measures. */
export const WORDS: Record<Mode, { measure: string; unit: "Gbit/s" | "1/s" }> = {
  stream: { measure: "TCP stream", unit: "Gbit/s" },
  request: { measure: "requests of 1 byte", unit: "1/s" },
  exchange: { measure: "new connections, a byte each way", unit: "1/s" },
};

/** Where connections are taken, and ended with a byte's reply. */
const EXCHANGE_PORT = "5202";
/** All ports at which the other end answers. */
export const PORTS = [PORT, EXCHANGE_PORT].map(Number);

/** Has the other end answer. @param modes what is to be measured */
export async function serve(
  context: Context,
  flow: string,
  { to, address }: Pick<Path, "to" | "address">,
  modes: readonly Mode[],
): Promise<void> {
  for (const [what, port] of modes.includes("exchange")
    ? ([
        ["serve", PORT],
        ["reply", EXCHANGE_PORT],
      ] as const)
    : ([["serve", PORT]] as const)) {
    const server = to.spawn(flow, [what, address, port], { stdio: ["ignore", "pipe", "inherit"] });
    context.onEnd(() => ended(server, "SIGKILL"));
    await new Promise((resolve) => server.stdout?.once("data", resolve));
  }
}

/** @throws Error when a path has another MTU than all others */
export function checkMtu({ name, from, device }: Path): void {
  const link = from.exec("ip", "-o", "link", "show", "dev", device);
  if (!link.includes(` mtu ${MTU} `)) throw new Error(`${name} has another MTU than the others: ${link}`);
}

/** Nodes of a path, by their last octets. */
export const nodesOf = (cluster: Cluster, first: number): [Nodes, [number, number]] => [
  [cluster.machine(`other${first}`, first), cluster.machine(`other${first + 1}`, first + 1)],
  [first, first + 1],
];

/**
 * Measures all paths in turns. Many short slices: the machine's other work changes from second to second, and then slows all paths of a round alike.
 * @returns by mode, a series a path
 */
export function inTurns(
  flow: string,
  paths: readonly Path[],
  modes: readonly Mode[],
  rounds: number,
): Map<Mode, number[][]> {
  const series = new Map(modes.map((mode) => [mode, paths.map((): number[] => [])]));
  for (const path of paths) for (const mode of modes) measure(flow, path, mode, SLICE_MS);
  for (let round = 0; round < rounds; round++)
    // The order turns round, so that none always comes after the same other.
    for (const mode of modes)
      for (let turn = 0; turn < paths.length; turn++) {
        const at = (turn + round) % paths.length;
        const path = paths[at];
        if (path) series.get(mode)?.[at]?.push(measure(flow, path, mode, SLICE_MS));
      }
  return series;
}

/** Gbit/s of a stream, or requests or connections a second. */
export function measure(flow: string, path: Pick<Path, "from" | "address">, mode: Mode, ms: number): number {
  const { count, ns } = counted(flow, path, mode, ms);
  return mode === "stream" ? (count * 8) / ns : (count / ns) * 1e9;
}

/** Bytes that have arrived of a stream, or requests or connections, and how long they took. */
export function counted(
  flow: string,
  { from, address }: Pick<Path, "from" | "address">,
  mode: Mode,
  ms: number,
): { count: number; ns: number } {
  const port = mode === "exchange" ? EXCHANGE_PORT : PORT;
  const args = [`--net=${from.path}`, "--", flow, mode, address, port, String(ms)];
  const [count = 0, ns = 1] = execFileSync("nsenter", args, { encoding: "utf8" }).split(" ").map(Number);
  return { count, ns };
}
