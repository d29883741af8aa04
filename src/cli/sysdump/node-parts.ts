/**
 * What a node has to say: its agent's answers, the doctor's findings, and the kernel's objects in its own namespace and in those of its pod networks.
 * Nothing secret is looked at: no kubeconfig, no token, no key, and of other plugins' configurations the names alone.
 */
import { globSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import type { AgentConfig } from "../../config/index.ts";
import { toolRunner } from "../../dataplane/nft/index.ts";
import { Rtnl } from "../../netlink/index.ts";
import { withNetns } from "../../sys/index.ts";
import { askAgent } from "../agent/client.ts";
import { CommandError } from "../command.ts";
import { diagnose } from "../doctor/diagnose.ts";
import { render } from "../doctor/finding.ts";
import { furtherNetworks } from "../agent/network-namespaces.ts";
import type { Part } from "./part.ts";

/** What the agent answers on its socket, and the name of the file. */
const ANSWERS = {
  "/status": "status.json",
  "/readyz": "readyz.txt",
  "/metrics": "metrics.txt",
  "/policies": "policies.json",
  "/probes": "probes.json",
} as const;
/** Files of the kernel's that say how it is, none of which is about a single connection or process. */
const KERNEL = [
  "/proc/version",
  "/proc/cmdline",
  "/proc/modules",
  "/proc/meminfo",
  "/proc/loadavg",
  "/proc/pressure/cpu",
  "/proc/net/dev",
  "/proc/net/snmp",
  "/proc/net/snmp6",
  "/proc/net/netstat",
  "/proc/net/softnet_stat",
  "/proc/net/stat/nf_conntrack",
  "/proc/sys/net/netfilter/nf_conntrack_count",
  "/proc/sys/net/netfilter/nf_conntrack_max",
];
const NET = "/proc/sys/net";
const PARAMETERS = [
  "core/{r,w}mem_max",
  "core/netdev_max_backlog",
  "ipv4/ip_forward",
  "ipv4/conf/*/{accept_local,arp_filter,arp_ignore,forwarding,proxy_arp,rp_filter,send_redirects}",
  "ipv6/conf/*/{accept_ra,disable_ipv6,forwarding,mtu,proxy_ndp}",
  "ipv{4,6}/neigh/default/gc_thresh*",
  "bridge/*",
];
/** Pod networks whose namespaces are looked into. */
const MOST_NETWORKS = 256;
/** How long the agent, and a tool, may take: who asks for all of this does so where something is wrong. */
const [ANSWER_MS, TOOL_MS] = [30_000, 30_000];

/** All parts of this node. @param socket the agent's @param timeoutMs of a probe of the doctor's */
export async function* nodeParts(config: AgentConfig, socket: string, timeoutMs: number): AsyncGenerator<Part> {
  for (const [path, name] of Object.entries(ANSWERS))
    yield { path: `agent/${name}`, look: () => answerOf(path, socket) };
  yield {
    path: "doctor.txt",
    look: async () => render((await diagnose(config, { socket, timeoutMs, only: undefined })).findings),
  };
  yield* files(config);
  yield* namespace("kernel", undefined);
  const further = await furtherNetworks(socket, ANSWER_MS);
  for (const { network, netns } of further.slice(0, MOST_NETWORKS)) yield* namespace(`networks/${network}`, netns);
}

/** Not ready is an answer like any other here. */
async function answerOf(path: string, socket: string): Promise<string> {
  try {
    return await askAgent(path, socket, ANSWER_MS);
  } catch (error) {
    if (error instanceof CommandError && path === "/readyz") return `${error.message}\n`;
    throw error;
  }
}

function* files({ runDir, dataDir, cni }: AgentConfig): Generator<Part> {
  const text = (path: string, file: string): Part => ({ path, look: () => readFileSync(file, "utf8") });
  for (const file of KERNEL) yield text(`system${file}`, file);
  yield text("config/agent.yaml", "/etc/skylane/agent.yaml");
  yield text(`config/${cni.confName}`, join(cni.confDir, cni.confName));
  yield { path: "config/files-of-all-plugins.txt", look: () => namesIn(cni.confDir) };
  yield text("config/default.json", join(runDir, "default.json"));
  yield { path: "config/files-of-run.txt", look: () => namesIn(runDir) };
  yield { path: "config/files-of-data.txt", look: () => namesIn(dataDir) };
}

const namesIn = (folder: string): string =>
  `${readdirSync(folder, { recursive: true, encoding: "utf8" }).sort().join("\n")}\n`;

/** Parameters of the thread's network namespace that decide about packets, in the words of sysctl(8). */
function parametersHere(): string {
  const files = PARAMETERS.flatMap((pattern) => globSync(pattern, { cwd: NET }));
  return files.map((file) => `net.${file.replaceAll("/", ".")} = ${readFileSync(join(NET, file), "utf8")}`).join("");
}

/** A network namespace's objects. @param netns its path; this process's own where there is none */
function* namespace(folder: string, netns: string | undefined): Generator<Part> {
  const asked = (name: string, look: (rtnl: Rtnl) => unknown): Part => ({
    path: `${folder}/${name}.json`,
    look: () => {
      using rtnl = Rtnl.open(netns === undefined ? {} : { netns });
      return look(rtnl);
    },
  });
  yield asked("links", (rtnl) => rtnl.links());
  yield asked("addresses", (rtnl) => rtnl.addresses());
  yield asked("routes", (rtnl) => rtnl.routes());
  yield asked("rules", (rtnl) => rtnl.rules());
  yield asked("neighbours", (rtnl) => rtnl.neighbours());
  yield asked("qdiscs", (rtnl) => rtnl.qdiscs());
  yield asked("fdb", (rtnl) =>
    rtnl
      .links()
      .filter(({ vxlan }) => vxlan !== undefined)
      .flatMap(({ index, name }) => rtnl.fdb({ ifindex: index }).map((entry) => ({ device: name, ...entry }))),
  );
  yield asked("bridge-fdb", (rtnl) =>
    rtnl
      .links()
      .filter(({ kind }) => kind === "bridge")
      .flatMap(({ index, name }) => rtnl.bridgeFdb({ master: index }).map((entry) => ({ bridge: name, ...entry }))),
  );
  const parameters = (): string => (netns === undefined ? parametersHere() : withNetns(netns, parametersHere));
  yield { path: `${folder}/parameters.txt`, look: parameters };
  const nft = toolRunner({ timeoutMs: TOOL_MS, ...(netns === undefined ? {} : { netns }) });
  yield { path: `${folder}/nft.txt`, look: () => nft("nft", ["list", "ruleset"]) };
}
