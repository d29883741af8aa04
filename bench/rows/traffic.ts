/**
 * Pod to pod across nodes: a TCP stream, and requests of one byte. Ours is the whole product: two agents, pods made by the
 * plugin, the firewall in place. Beside it, on the same wire and in turns, each on two nodes of its own:
 *
 * - flannel: its layout as iproute2 makes it (pods on a bridge, a VXLAN device with onlink routes) and the rules that it
 *   installs unless told otherwise (--ip-masq in its manifest), as its nftables mode writes them, the cheaper of its two.
 *   They make the kernel track connections, as ours do, and as kube-proxy's do in any cluster.
 * - the same layout without any rule: nobody runs that, since its pods could not leave the cluster.
 * - a VXLAN device between two nodes with nothing behind it: no pods.
 */
import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { BenchAgent } from "../simulator/agent.ts";
import { Cluster } from "../simulator/cluster.ts";
import { BIN, type Context, type Measurement, native } from "../support/context.ts";
import { cable, type Namespace, namespace } from "../support/namespace.ts";
import { runCalls } from "../support/plugins.ts";
import { ended, until } from "../support/process.ts";
import { compared, type Row } from "../support/row.ts";

const PORT = "5201";
/** Of every pod and tunnel here: what the agent makes of a wire of 1500. */
const MTU = "1450";
const SLICE_MS = 200;

/** Two places between which traffic can flow. */
interface Path {
  name: string;
  from: Namespace;
  to: Namespace;
  address: string;
  /** Where traffic leaves `from`. */
  device: string;
}

/** Two pods on two nodes with real agents. */
async function skylane(context: Context, cluster: Cluster): Promise<Path> {
  const { kubeconfig } = cluster.files(join(context.dir, "access"));
  const meter = native(context, "meter");
  const agents = [11, 12].map((octet, at) => {
    const who = { name: `node${at}`, ip: `172.30.0.${octet}`, podCidr: `10.0.${at}.0/24`, kubeconfig };
    return new BenchAgent(context, cluster.machine(who.name, octet), who);
  });
  for (const { name, ip, podCidr } of agents) await cluster.ask({ what: "own", name, ip, podCidr });
  for (const agent of agents) agent.start();
  for (const agent of agents) await agent.ready();
  const [first, second] = agents as [BenchAgent, BenchAgent];
  for (const [one, other] of [[first, second] as const, [second, first] as const])
    await until("a route between the nodes", 20_000, () => one.ns.exec("ip", "route").includes(other.podCidr));
  const pods: { ns: Namespace; address: string }[] = [];
  for (const [at, agent] of agents.entries()) {
    const pod = namespace(context, `pod${at}`);
    const config = {
      cniVersion: "1.0.0",
      name: "skylane",
      type: "skylane",
      runDir: agent.runDir,
      dataDir: agent.dataDir,
    };
    const path = join(BIN, "skylane");
    const call = { path, command: "ADD" as const, containerId: "pod", netns: pod.path, config };
    const [result] = (await runCalls(meter, agent.ns.path, [call])).results;
    const { ips } = JSON.parse(result?.stdout ?? "{}") as { ips: { address: string }[] };
    pods.push({ ns: pod, address: (ips[0]?.address ?? "").replace(/\/.*/, "") });
  }
  const [from, to] = pods as [(typeof pods)[0], (typeof pods)[0]];
  return { name: "skylane", from: from.ns, to: to.ns, address: to.address, device: "eth0" };
}

type Nodes = readonly [Namespace, Namespace];

/** A VXLAN device between two nodes as it is. @param octets of the nodes' addresses */
function bare(nodes: Nodes, octets: readonly [number, number]): Path {
  for (const [at, node] of nodes.entries()) {
    const ends = ["local", `172.30.0.${octets[at]}`, "remote", `172.30.0.${octets[1 - at]}`];
    node.exec("ip", "link", "add", "vx", "mtu", MTU, "type", "vxlan", "id", "100", "dstport", "8472", ...ends);
    node.exec("ip", "addr", "add", `10.99.0.${1 + at}/24`, "dev", "vx");
    node.exec("ip", "link", "set", "vx", "up");
  }
  return { name: "bare VXLAN between the nodes", from: nodes[0], to: nodes[1], address: "10.99.0.2", device: "vx" };
}

/** What flannel and its CNI plugin make, with or without its rules. */
function flannel(context: Context, nodes: Nodes, octets: readonly [number, number], rules: boolean): Path {
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
    ip("link", "add", "cni0", "mtu", MTU, "type", "bridge");
    ip("addr", "add", `10.42.${at}.1/24`, "dev", "cni0");
    ip("link", "set", "cni0", "up");
    const pod = namespace(context, `flannel${at}`);
    cable(node, "pod", pod, "eth0");
    ip("link", "set", "pod", "mtu", MTU, "master", "cni0");
    pod.exec("ip", "link", "set", "eth0", "mtu", MTU);
    pod.exec("ip", "addr", "add", `10.42.${at}.2/24`, "dev", "eth0");
    pod.exec("ip", "route", "add", "default", "via", `10.42.${at}.1`);
    if (rules) node.exec("nft", flannelRules("10.42.0.0/16", `10.42.${at}.0/24`));
    return pod;
  }) as [Namespace, Namespace];
  const name = rules ? "flannel: bridge + veth + VXLAN + its rules" : "flannel's layout without its rules";
  return { name, from: pods[0], to: pods[1], address: "10.42.1.2", device: "eth0" };
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

type Mode = "stream" | "request";

/** Gbit/s of a stream, or requests a second. */
function measure(flow: string, { from, address }: Path, mode: Mode, ms: number): number {
  const args = [`--net=${from.path}`, "--", flow, mode, address, PORT, String(ms)];
  const [count = 0, ns = 1] = execFileSync("nsenter", args, { encoding: "utf8" }).split(" ").map(Number);
  return mode === "stream" ? (count * 8) / ns : (count / ns) * 1e9;
}

export const traffic: Measurement = {
  name: "traffic",
  title: "Pod to pod across nodes",
  async run(context) {
    const cluster = await Cluster.start(context, "embedded");
    const flow = native(context, "flow");
    const nodes = (first: number): [Nodes, [number, number]] => [
      [cluster.machine(`other${first}`, first), cluster.machine(`other${first + 1}`, first + 1)],
      [first, first + 1],
    ];
    const paths = [
      await skylane(context, cluster),
      flannel(context, ...nodes(13), true),
      flannel(context, ...nodes(15), false),
      bare(...nodes(17)),
    ];
    for (const { name, from, to, address, device } of paths) {
      const link = from.exec("ip", "-o", "link", "show", "dev", device);
      if (!link.includes(` mtu ${MTU} `)) throw new Error(`${name} has another MTU than the others: ${link}`);
      const server = to.spawn(flow, ["serve", address, PORT], { stdio: ["ignore", "pipe", "inherit"] });
      context.onEnd(() => ended(server, "SIGKILL"));
      await new Promise((resolve) => server.stdout?.once("data", resolve));
    }
    const series = { stream: paths.map((): number[] => []), request: paths.map((): number[] => []) };
    for (const path of paths) for (const mode of ["stream", "request"] as const) measure(flow, path, mode, SLICE_MS);
    // Many short slices: the machine's other work changes from second to second, and then slows all paths of a round alike.
    for (let round = 0; round < (context.quick ? 5 : 40); round++) {
      for (const mode of ["stream", "request"] as const) {
        // The order turns round, so that none always comes after the same other.
        for (let turn = 0; turn < paths.length; turn++) {
          const at = (turn + round) % paths.length;
          const path = paths[at];
          if (path) series[mode][at]?.push(measure(flow, path, mode, SLICE_MS));
        }
      }
    }
    const rows: Row[] = [];
    for (const mode of ["stream", "request"] as const) {
      for (const [at, atLeast] of [[1, 1] as const, [2, undefined] as const, [3, 0.95] as const]) {
        const measure = mode === "stream" ? "TCP stream across nodes" : "requests of 1 byte across nodes";
        const unit = mode === "stream" ? ("Gbit/s" as const) : ("1/s" as const);
        const target = atLeast !== undefined && { target: { of: "ratio" as const, atLeast } };
        const head = { group: "traffic", measure, unit, ...target };
        rows.push(compared(head, series[mode][0] ?? [], paths[at]?.name ?? "", series[mode][at] ?? []));
      }
    }
    return rows;
  },
};
