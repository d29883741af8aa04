/**
 * Nodes of a bridged network for tests: each a host on one underlay, a namespace of the network, and pods made by iproute2
 * alone, whose host ends are in the network's namespace.
 */
import { derivedMac } from "../../../src/addr/index.ts";
import {
  type BridgedNetwork,
  BridgeReconciler,
  type BridgeReconcilerOptions,
  type MacSeen,
  type RemoteEndpoint,
} from "../../../src/dataplane/bridge/index.ts";
import type { EndpointAddresses } from "../../../src/endpoints/index.ts";
import type { Peer } from "../../../src/peers/index.ts";
import { recordingLogger } from "../overlay/cluster.ts";
import { FrameSender } from "../support/frames.ts";
import { testNamespace, type TestNamespace } from "../support/netns.ts";

export const VNI = 7100;
export const DEVICE = `sky.${VNI}`;

export interface BridgePod extends EndpointAddresses {
  ns: TestNamespace;
  ifname: string;
}

export interface BridgeNode {
  name: string;
  host: TestNamespace;
  net: TestNamespace;
  options: BridgeReconcilerOptions;
  log: ReturnType<typeof recordingLogger>;
  peer: Peer;
  bridge: BridgeReconciler;
  seen: (MacSeen & { at: number })[];
  /** Makes a pod, as a port that the reconciler knows when `announced`. */
  pod(n: number, addresses?: Partial<EndpointAddresses>): BridgePod;
}

/** Makes an underlay with so many nodes, none of them started. Call it in a hook of the suite. */
export function bridgeCluster(
  count: number,
  broadcast: BridgedNetwork["broadcast"] = "Replicate",
  more: Partial<BridgeReconcilerOptions> = {},
): { underlay: TestNamespace; nodes: BridgeNode[] } {
  const underlay = testNamespace("underlay");
  underlay.exec("ip", "link", "add", "br0", "type", "bridge", "mcast_snooping", "0");
  underlay.exec("ip", "link", "set", "br0", "up");
  const nodes = Array.from({ length: count }, (_, i): BridgeNode => {
    const n = i + 1;
    const [host, net] = [testNamespace(`host${n}`), testNamespace(`net${n}`)];
    underlay.exec("ip", "link", "add", `m${n}`, "type", "veth", "peer", "name", "eth0", "netns", host.name);
    underlay.exec("ip", "link", "set", `m${n}`, "master", "br0", "up");
    host.exec("ip", "addr", "add", `172.30.0.${n}/24`, "dev", "eth0");
    host.exec("ip", "link", "set", "eth0", "up");
    const local: BridgedNetwork = {
      network: "blue",
      node: `node${n}`,
      vni: VNI,
      device: DEVICE,
      port: 4789,
      mtu: 1450,
      mac: derivedMac(`node${n}/${VNI}`),
      underlayIp: `172.30.0.${n}`,
      broadcast,
    };
    const seen: BridgeNode["seen"] = [];
    const log = recordingLogger();
    const options: BridgeReconcilerOptions = {
      local,
      netns: net.path,
      underlayNetns: host.path,
      logger: log,
      onMacSeen: (what) => seen.push({ ...what, at: performance.now() }),
      ...more,
    };
    const bridge = new BridgeReconciler(options);
    const peer: Peer = { node: local.node, mac: local.mac, underlayIp: local.underlayIp, podCidrs: [] };
    return {
      name: local.node,
      host,
      net,
      options,
      log,
      peer,
      bridge,
      seen,
      pod: (p, addresses) => pod(net, n, p, addresses),
    };
  });
  return { underlay, nodes };
}

function pod(net: TestNamespace, node: number, n: number, addresses: Partial<EndpointAddresses> = {}): BridgePod {
  const ns = testNamespace(`pod${node}x${n}`);
  const ifname = `skypod${n}`;
  const mac = addresses.mac ?? `02:00:00:00:0${node}:0${n}`;
  const ips = addresses.ips ?? [`10.7.${node}.${n}`, `fd07::${node}:${n}`];
  ns.exec(
    "ip",
    "link",
    "add",
    "eth0",
    "address",
    mac,
    "mtu",
    "1450",
    "type",
    "veth",
    "peer",
    "name",
    ifname,
    "netns",
    net.name,
  );
  net.exec("ip", "link", "set", ifname, "address", "ee:ee:ee:ee:ee:ee", "addrgenmode", "none", "mtu", "1450", "up");
  // No router, so none is asked for; and no link-local address that would be checked for duplicates.
  ns.exec("sysctl", "-qw", "net.ipv6.conf.eth0.accept_ra=0", "net.ipv6.conf.eth0.addr_gen_mode=1");
  if (!ips.some((ip) => ip.includes(":"))) ns.exec("sysctl", "-qw", "net.ipv6.conf.eth0.disable_ipv6=1");
  for (const ip of ips) {
    const flags = ip.includes(":") ? ["nodad"] : [];
    ns.exec("ip", "addr", "add", `${ip}/${ip.includes(":") ? 64 : 16}`, "dev", "eth0", ...flags);
  }
  ns.exec("ip", "link", "set", "eth0", "up");
  return { ns, ifname, mac, ips };
}

/** What the other nodes hear of a pod. */
export const remote = (node: BridgeNode, { mac, ips }: EndpointAddresses): [string, RemoteEndpoint] => [
  mac,
  { mac, ips, node: node.name },
];

/** Tells a node of its own pods and all nodes of each other and their pods. */
export async function introduce(
  nodes: readonly BridgeNode[],
  pods: ReadonlyMap<BridgeNode, readonly BridgePod[]>,
): Promise<void> {
  for (const node of nodes) {
    node.bridge.setLocalPorts((pods.get(node) ?? []).map((p) => [p.ifname, { ifname: p.ifname, endpoints: [p] }]));
    const others = nodes.filter((other) => other !== node);
    node.bridge.setPeers(others.map(({ peer }) => peer));
    node.bridge.setEndpoints(others.flatMap((other) => (pods.get(other) ?? []).map((p) => remote(other, p))));
  }
  await Promise.all(nodes.map(({ bridge }) => bridge.settled()));
}

/** Sends one raw frame from a pod: destination, source, type and payload in hexadecimal. */
export function sendFrame({ ns }: Pick<BridgePod, "ns">, dst: string, src: string, type: string, payload = ""): void {
  const hex = [dst, src].map((mac) => mac.replaceAll(":", "")).join("") + type + payload.padEnd(92, "0");
  using sender = new FrameSender(ns.path, "eth0");
  sender.send(Buffer.from(hex, "hex"));
}

/** A gratuitous ARP request: sender and target are the same address. */
export function gratuitousArp(from: Pick<BridgePod, "ns">, mac: string, ip: string): void {
  const bytes = ip
    .split(".")
    .map((part) => Number(part).toString(16).padStart(2, "0"))
    .join("");
  const address = mac.replaceAll(":", "");
  sendFrame(from, "ff:ff:ff:ff:ff:ff", mac, "0806", `0001080006040001${address}${bytes}000000000000${bytes}`);
}
