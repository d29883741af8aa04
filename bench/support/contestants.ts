/** CNI plugins that are measured against each other: each works in a node of its own, a namespace with forwarding on. */
import { mkdirSync, mkdtempSync } from "node:fs";
import { join } from "node:path";
import { writePublished } from "../../src/config/index.ts";
import { BenchAgent } from "../simulator/agent.ts";
import { Cluster } from "../simulator/cluster.ts";
import { BIN, type Context } from "./context.ts";
import { namespace } from "./namespace.ts";

const REFERENCE = "/usr/lib/cni";
const SUBNET = "10.244.0.0/22";

/** A plugin and its configuration. */
export interface Contestant {
  name: string;
  path: string;
  config: object;
  /** Namespace of the node that it works in. */
  node: string;
}

/** A node for one plugin. */
function nodeFor(context: Context, label: string): string {
  const node = namespace(context, label);
  node.exec("sysctl", "-qw", "net.ipv4.ip_forward=1");
  return node.path;
}

const ours = (runDir: string, dataDir: string): Omit<Contestant, "name" | "node"> => ({
  path: join(BIN, "skylane"),
  config: { cniVersion: "1.0.0", name: "skylane", type: "skylane", runDir, dataDir },
});

/** Skylane's plugin on a node whose agent is stopped. */
export function alone(context: Context): Contestant {
  const [runDir, dataDir] = [join(context.dir, "alone/run"), join(context.dir, "alone/data")];
  mkdirSync(runDir, { recursive: true });
  writePublished(runDir, {
    version: 1,
    network: "default",
    node: "bench",
    vni: 4096,
    device: "sky.4096",
    mtu: 1450,
    podCidrs: [SUBNET],
    clusterCidrs: [],
  });
  return { name: "Skylane, stand-alone", ...ours(runDir, dataDir), node: nodeFor(context, "alone") };
}

/** Skylane on a node whose agent runs: the whole product, the packet filter included. */
export async function served(
  context: Context,
  name = "served",
  config: object = {},
): Promise<Contestant & { agent: BenchAgent; cluster: Cluster }> {
  const cluster = await Cluster.start(context, "embedded");
  const { kubeconfig } = cluster.files(mkdtempSync(join(context.dir, "access-")));
  const who = { name, ip: "172.30.0.11", podCidr: SUBNET };
  const agent = new BenchAgent(context, cluster.machine(who.name, 11), { ...who, kubeconfig, config });
  await cluster.ask({ what: "own", ...who });
  agent.start();
  await agent.ready();
  return { name: "Skylane", ...ours(agent.runDir, agent.dataDir), node: agent.ns.path, agent, cluster };
}

/**
 * bridge or ptp with host-local: what a node does whose routes to other nodes somebody else makes. `ipMasq` is the
 * masquerading of traffic that leaves the cluster, by rules for each pod; Skylane's agent does it for all pods at once.
 */
export function reference(context: Context, type: "bridge" | "ptp", ipMasq = false): Contestant {
  const label = `${type}${ipMasq ? "masq" : ""}`;
  const dataDir = join(context.dir, label);
  const ipam = { type: "host-local", dataDir, ranges: [[{ subnet: SUBNET }]], routes: [{ dst: "0.0.0.0/0" }] };
  const more = type === "bridge" ? { bridge: "cni0", isGateway: true } : {};
  return {
    name: `${type} + host-local${ipMasq ? ", ipMasq" : ""}`,
    path: join(REFERENCE, type),
    config: { cniVersion: "1.0.0", name: label, type, mtu: 1450, ipMasq, ipam, ...more },
    node: nodeFor(context, label),
  };
}
