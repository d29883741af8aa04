/**
 * Pod to pod across nodes: a TCP stream, and requests of one byte. Ours is the whole product: two agents, pods made by the
 * plugin, the firewall in place. Beside it, on the same wire and in turns: flannel's layout as iproute2 makes it (pods on
 * a bridge, a VXLAN device with onlink routes), and a VXLAN device between two nodes with nothing behind it.
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

/** Two places between which traffic can flow. */
interface Path {
  name: string;
  from: Namespace;
  to: Namespace;
  address: string;
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
  return { name: "skylane", from: from.ns, to: to.ns, address: to.address };
}

/** A VXLAN device between two nodes as it is. */
function bare(nodes: readonly [Namespace, Namespace]): Path {
  for (const [at, node] of nodes.entries()) {
    const ends = ["local", `172.30.0.${13 + at}`, "remote", `172.30.0.${14 - at}`];
    node.exec("ip", "link", "add", "vx", "mtu", "1450", "type", "vxlan", "id", "100", "dstport", "8472", ...ends);
    node.exec("ip", "addr", "add", `10.99.0.${1 + at}/24`, "dev", "vx");
    node.exec("ip", "link", "set", "vx", "up");
  }
  return { name: "bare VXLAN between the nodes", from: nodes[0], to: nodes[1], address: "10.99.0.2" };
}

/** What flannel and its CNI plugin make. */
function flannel(context: Context, nodes: readonly [Namespace, Namespace]): Path {
  const mac = (at: number): string => `02:00:00:00:42:0${at}`;
  const pods = nodes.map((node, at) => {
    const other = 1 - at;
    const ip = (...args: string[]): string => node.exec("ip", ...args);
    node.exec("sysctl", "-qw", "net.ipv4.ip_forward=1");
    const vxlan = ["type", "vxlan", "id", "1", "dstport", "8473", "local", `172.30.0.${13 + at}`, "nolearning"];
    ip("link", "add", "flannel.1", "address", mac(at), "mtu", "1450", ...vxlan);
    ip("addr", "add", `10.42.${at}.0/32`, "dev", "flannel.1");
    ip("link", "set", "flannel.1", "up");
    node.exec("bridge", "fdb", "add", mac(other), "dev", "flannel.1", "dst", `172.30.0.${13 + other}`);
    ip("neigh", "add", `10.42.${other}.0`, "lladdr", mac(other), "dev", "flannel.1", "nud", "permanent");
    ip("route", "add", `10.42.${other}.0/24`, "via", `10.42.${other}.0`, "dev", "flannel.1", "onlink");
    ip("link", "add", "cni0", "mtu", "1450", "type", "bridge");
    ip("addr", "add", `10.42.${at}.1/24`, "dev", "cni0");
    ip("link", "set", "cni0", "up");
    const pod = namespace(context, `flannel${at}`);
    cable(node, "pod", pod, "eth0");
    ip("link", "set", "pod", "mtu", "1450", "master", "cni0");
    pod.exec("ip", "link", "set", "eth0", "mtu", "1450");
    pod.exec("ip", "addr", "add", `10.42.${at}.2/24`, "dev", "eth0");
    pod.exec("ip", "route", "add", "default", "via", `10.42.${at}.1`);
    return pod;
  }) as [Namespace, Namespace];
  return { name: "bridge + veth + VXLAN (flannel's layout)", from: pods[0], to: pods[1], address: "10.42.1.2" };
}

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
    const others = [cluster.machine("other0", 13), cluster.machine("other1", 14)] as const;
    const paths = [await skylane(context, cluster), bare(others), flannel(context, others)];
    for (const { to, address } of paths) {
      const server = to.spawn(flow, ["serve", address, PORT], { stdio: ["ignore", "pipe", "inherit"] });
      context.onEnd(() => ended(server, "SIGKILL"));
      await new Promise((resolve) => server.stdout?.once("data", resolve));
    }
    const series = { stream: paths.map((): number[] => []), request: paths.map((): number[] => []) };
    for (const path of paths) measure(flow, path, "stream", 200);
    for (let round = 0; round < (context.quick ? 3 : 15); round++) {
      for (const mode of ["stream", "request"] as const) {
        // The order turns round, so that none always comes after the same other.
        for (let turn = 0; turn < paths.length; turn++) {
          const at = (turn + round) % paths.length;
          const path = paths[at];
          if (path) series[mode][at]?.push(measure(flow, path, mode, mode === "stream" ? 700 : 500));
        }
      }
    }
    const rows: Row[] = [];
    for (const mode of ["stream", "request"] as const) {
      for (const [at, atLeast] of [[2, 1] as const, [1, 0.95] as const]) {
        const measure = mode === "stream" ? "TCP stream across nodes" : "requests of 1 byte across nodes";
        const unit = mode === "stream" ? ("Gbit/s" as const) : ("1/s" as const);
        const head = { group: "traffic", measure, unit, target: { of: "ratio" as const, atLeast } };
        rows.push(compared(head, series[mode][0] ?? [], paths[at]?.name ?? "", series[mode][at] ?? []));
      }
    }
    return rows;
  },
};
