/** Gathers what this node knows of the two ends: from its agent, or, where that does not answer, from what it has left on disk. */
import { cidrContains, familyOf, hostPrefix, parseIp, type SocketAddress } from "../../../addr/index.ts";
import { type PublishedNetwork, readPublished } from "../../../config/index.ts";
import { readCache } from "../../../nodes/index.ts";
import type { NetworkStatus } from "../../../observe/index.ts";
import { AnnotationError, readVtepAnnotation } from "../../../peers/index.ts";
import { agentStatus } from "../../agent/client.ts";
import { CommandError, UsageError } from "../../command.ts";
import { describeError } from "../../main.ts";
import { reachable } from "../../agent/network-namespaces.ts";
import type { KnownNetwork, KnownPeer, Knowledge, LocalPod } from "../plan/knowledge.ts";
import type { Traffic } from "../types.ts";
import type { Kernel } from "./kernel.ts";
import { localPods } from "./local-pods.ts";

const DEFAULT_NETWORK = "default";

/** What is asked, and where to look. */
export interface Asked {
  /** A pod of this node by its name, or an address. */
  from: string;
  to: string;
  network: string;
  family?: 4 | 6 | undefined;
  traffic: Traffic;
  service?: SocketAddress | undefined;
  socket: string;
  runDir: string;
  dataDir: string;
  cacheFile: (network: string) => string;
  timeoutMs: number;
}

/** What is known of a network, whoever tells. */
interface Known {
  node: string;
  source: Knowledge["source"];
  network: KnownNetwork;
  peers: readonly KnownPeer[];
  refused: Knowledge["refused"];
}

/** @param silent why the agent does not answer, where it does not @throws CommandError when nobody knows the network or the ends */
export async function gather(asked: Asked, kernel: Kernel): Promise<{ knowledge: Knowledge; silent?: string }> {
  const published = readPublished(asked.runDir, asked.network);
  let known: Known;
  let silent: string | undefined;
  try {
    known = await fromAgent(asked, published);
  } catch (error) {
    if (!(error instanceof CommandError) || error instanceof NoNetwork) throw error;
    silent = describeError(error);
    known = await fromFiles(asked, published, silent);
  }
  const { network, peers, node, source, refused } = known;
  const pods = localPods(kernel, asked.dataDir, network.name, network.hostNetns, network.mode === "Bridged");
  const { from, to } = endsOf(asked, pods, network.name);
  const far = from.local ? to : from;
  const here = from.local !== undefined && to.local !== undefined;
  const farMac = here || network.bridge === undefined ? undefined : macAt(kernel, network, far.ip);
  const remote = here ? undefined : peerOf(far.ip, network, peers);
  if (!from.local && !to.local) refuseUnlessHere(known, from.ip, to.ip, remote);
  const other = remote ?? (farMac === undefined ? undefined : behind(kernel, network, farMac, peers));
  return {
    knowledge: {
      node,
      source,
      family: familyOf(to.ip),
      traffic: asked.traffic,
      service: asked.service,
      network,
      from,
      to,
      other: source === "files" && other ? direct(kernel, network, other, far.ip) : other,
      peerIps: peers.map(({ underlayIp }) => underlayIp),
      toMac: far === to ? farMac : undefined,
      refused,
    },
    ...(silent !== undefined && { silent }),
  };
}

/** The agent answers, and has no such network. */
class NoNetwork extends CommandError {}

async function fromAgent(asked: Asked, published: PublishedNetwork | undefined): Promise<Known> {
  const { node, networks } = await agentStatus(asked.socket, 2 * asked.timeoutMs);
  const network = networks.find((one) => one.network === asked.network);
  if (!network) {
    const there = networks.map((one) => one.network).join(", ") || "none yet";
    throw new NoNetwork(`node ${node} has no pods in network "${asked.network}"; its networks: ${there}`);
  }
  const { device, vni, port, mac, underlayIp, publicIp, podCidrs, peers, refused } = network;
  return {
    node,
    source: "agent",
    network: {
      name: network.network,
      mode: modeOf(network, published),
      device,
      vni,
      port,
      mac,
      underlayIp,
      publicIp,
      podCidrs,
      ...placeOf(published, vni),
    },
    peers,
    refused: refused.map(({ node: one, message }) => ({ node: one, message })),
  };
}

const modeOf = ({ mode }: NetworkStatus, published: PublishedNetwork | undefined): KnownNetwork["mode"] =>
  published?.bridge ? "Bridged" : mode;

const placeOf = (published: PublishedNetwork | undefined, vni: number): Pick<KnownNetwork, "hostNetns" | "bridge"> => ({
  hostNetns: published?.hostNetns === undefined ? undefined : reachable(published.hostNetns, vni),
  bridge: published?.bridge?.name,
});

/**
 * As the agent last saved what the API server said. What it would refuse of that is not worked out again: where it runs, it is asked.
 * @throws CommandError when there is nothing
 */
async function fromFiles(asked: Asked, published: PublishedNetwork | undefined, why: string): Promise<Known> {
  const { network: name } = asked;
  if (!published) throw new CommandError(`nothing is known of network "${name}" on this node: ${why}`);
  if (name !== DEFAULT_NETWORK) throw new CommandError(`only the agent knows who is in network "${name}": ${why}`);
  const { node, device, vni, podCidrs } = published;
  const cache = await readCache(asked.cacheFile(name), node);
  if (!cache) throw new CommandError(`nobody knows the other nodes: ${why}, and it has left no cache`);
  const entryOf = (text: string | undefined) => {
    try {
      return text === undefined ? undefined : readVtepAnnotation(text, name);
    } catch (error) {
      if (error instanceof AnnotationError) return undefined; // its agent refuses it as well
      throw error;
    }
  };
  const own = entryOf(cache.inputs.own.vtepAnnotation);
  const peers = cache.inputs.nodes.flatMap(({ name: peer, vtepAnnotation, granted }): KnownPeer[] => {
    const entry = peer === node ? undefined : entryOf(vtepAnnotation);
    const [underlayIp] = entry?.ips ?? [];
    if (!entry || underlayIp === undefined || !granted) return [];
    const cidrs = entry.podCidrs.filter((cidr) => granted.podCidrs.includes(cidr));
    const hops = entry.direct ? entry.ips.map((gateway) => ({ gateway, ifindex: 0 })) : [];
    return [
      { node: peer, mac: entry.mac, underlayIp, podCidrs: cidrs, vni: entry.vni, port: entry.port, direct: hops },
    ];
  });
  return {
    node,
    source: "files",
    network: {
      name,
      mode: "Routed",
      device,
      vni,
      port: own?.port,
      mac: own?.mac,
      podCidrs,
      ...placeOf(published, vni),
    },
    peers,
    refused: [],
  };
}

/** Whether this node reaches a peer directly is the agent's to decide; where only files tell, the route that there is says it. */
function direct(kernel: Kernel, { hostNetns }: KnownNetwork, peer: KnownPeer, ip: string): KnownPeer {
  const route = kernel
    .in(hostNetns)
    .routes({ family: familyOf(ip) })
    .find(({ dst }) => peer.podCidrs.includes(dst));
  const hop = peer.direct?.find(({ gateway }) => gateway === route?.gateway);
  return { ...peer, direct: hop && route?.ifindex !== undefined ? [{ ...hop, ifindex: route.ifindex }] : [] };
}

const isIp = (text: string): boolean => text.includes(":") || /^\d+(\.\d+){3}$/.test(text);

/** In its one spelling. @throws UsageError */
function addressOf(text: string): string {
  try {
    return parseIp(text);
  } catch (cause) {
    throw new UsageError(`"${text}" is no address`, { cause });
  }
}

/** A name without a namespace is one of "default". */
const qualified = (name: string): string => (name.includes("/") ? name : `default/${name}`);

/** Both ends in one family. @throws CommandError */
function endsOf(
  { from, to, family }: Asked,
  pods: readonly LocalPod[],
  network: string,
): Pick<Knowledge, "from" | "to"> {
  const [sources, targets] = [from, to].map((text) => candidates(text, pods, network)) as [Candidate[], Candidate[]];
  for (const one of sources)
    for (const other of targets)
      if (familyOf(one.ip) === familyOf(other.ip) && (family === undefined || familyOf(one.ip) === family))
        return { from: one, to: other };
  throw new CommandError(
    family === undefined ? "the two ends have no address family in common" : `they have no IPv${family} addresses both`,
  );
}

type Candidate = { ip: string; local?: LocalPod };

function candidates(text: string, pods: readonly LocalPod[], network: string): Candidate[] {
  if (isIp(text)) {
    const ip = addressOf(text);
    const local = pods.find(({ ips }) => ips.includes(ip));
    return [{ ip, ...(local && { local }) }];
  }
  const local = pods.find(({ name }) => name === qualified(text));
  if (!local)
    throw new CommandError(
      `no pod ${qualified(text)} of network "${network}" is on this node; give the address of one on another node (kubectl get pod -o wide), or run kubectl skylane trace, which finds it`,
    );
  return local.ips.toSorted((a, b) => familyOf(a) - familyOf(b)).map((ip) => ({ ip, local }));
}

/** The node that has an address, as this one has it. */
function peerOf(ip: string, { mode }: KnownNetwork, peers: readonly KnownPeer[]): KnownPeer | undefined {
  if (mode === "Bridged") return undefined;
  return (
    peers.find(({ hosts = [] }) => hosts.some((host) => hostPrefix(host) === hostPrefix(ip))) ??
    peers.find(({ podCidrs }) => podCidrs.some((cidr) => inside(cidr, ip)))
  );
}

const inside = (cidr: string, ip: string): boolean => familyOf(cidr) === familyOf(ip) && cidrContains(cidr, ip);

/** With which MAC the bridge answers for an address. */
function macAt(kernel: Kernel, { bridge = "", hostNetns }: KnownNetwork, ip: string): string | undefined {
  const rtnl = kernel.in(hostNetns);
  const link = rtnl.link(bridge);
  return link && rtnl.neighbours({ family: familyOf(ip), ifindex: link.index }).find((one) => one.ip === ip)?.mac;
}

/** The peer behind which a MAC is, as the kernel has it. */
function behind(
  kernel: Kernel,
  { device, hostNetns }: KnownNetwork,
  mac: string,
  peers: readonly KnownPeer[],
): KnownPeer | undefined {
  const rtnl = kernel.in(hostNetns);
  const link = rtnl.link(device);
  const dst = link && rtnl.fdb({ ifindex: link.index }).find((one) => one.mac === mac)?.dst;
  return peers.find(({ underlayIp }) => underlayIp === dst);
}

/** Neither end is a pod here: that is a trace of this node's only where the destination would be. @throws CommandError */
function refuseUnlessHere({ node, network }: Known, from: string, to: string, sender: KnownPeer | undefined): void {
  if (network.podCidrs.some((cidr) => inside(cidr, to)) && !network.podCidrs.some((cidr) => inside(cidr, from))) return;
  const where = sender ? ` (a pod of node ${sender.node} has the first)` : "";
  throw new CommandError(
    `neither ${from} nor ${to} is a pod's of node ${node} in network ${network.name}${where}: run the trace on the node of the first`,
  );
}
