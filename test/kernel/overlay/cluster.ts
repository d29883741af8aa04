/**
 * A few "nodes" for tests: namespaces on one bridged underlay, each with pods made by iproute2 alone, so that the overlay
 * is tested against the kernel and not against other parts of Skylane.
 */
import type { Fields, Logger } from "../../../src/log/index.ts";
import { POD_LINK_GROUP } from "../../../src/netlink/index.ts";
import { derivedMac } from "../../../src/addr/index.ts";
import { type LocalNetwork, type Peer } from "../../../src/peers/index.ts";
import { OverlayReconciler, type ReconcilerOptions } from "../../../src/dataplane/vxlan/index.ts";
import { eventually } from "../../support/eventually.ts";
import { testNamespace, type TestNamespace } from "../support/netns.ts";

export interface LogLine {
  level: string;
  message: string;
  fields: Fields | undefined;
}

/** A logger that keeps what it is told. */
export function recordingLogger(): Logger & { lines: LogLine[] } {
  const lines: LogLine[] = [];
  const at = (level: string) => (message: string, fields?: Fields) => void lines.push({ level, message, fields });
  const logger = {
    lines,
    error: at("error"),
    warn: at("warn"),
    info: at("info"),
    debug: at("debug"),
    enabled: () => true,
  };
  return { ...logger, child: () => ({ ...logger, child: () => recordingLogger() }) };
}

/** A pod: a namespace with an address a family, behind a veth pair to its node. */
export interface TestPod {
  ns: TestNamespace;
  ips: string[];
  hostIfname: string;
}

/** A node on the underlay. */
export interface TestNode {
  number: number;
  ns: TestNamespace;
  local: LocalNetwork;
  /** This node as the others see it. */
  peer: Peer;
  pod(n: number): TestPod;
}

/** An underlay and what is on it. */
export interface TestCluster {
  /** Holds the bridge `br0` that everything on the underlay is connected to. */
  underlay: TestNamespace;
  nodes: TestNode[];
  /** Another machine on the underlay, with addresses .n and ::n. */
  machine(label: string, n: number): TestNamespace;
}

const underlayIp = (n: number): string => `172.30.0.${n}`;

/** Makes an underlay with so many nodes, numbered from 1. Call it in a hook of the suite. */
export function testCluster(count: number): TestCluster {
  const underlay = testNamespace("underlay");
  underlay.exec("ip", "link", "add", "br0", "type", "bridge");
  underlay.exec("ip", "link", "set", "br0", "up");
  const machine = (label: string, n: number): TestNamespace => {
    const ns = testNamespace(label);
    underlay.exec("ip", "link", "add", `m${n}`, "type", "veth", "peer", "name", "eth0", "netns", ns.name);
    underlay.exec("ip", "link", "set", `m${n}`, "master", "br0", "up");
    ns.exec("ip", "addr", "add", `${underlayIp(n)}/24`, "dev", "eth0");
    ns.exec("ip", "addr", "add", `fd30::${n}/64`, "dev", "eth0", "nodad");
    ns.exec("ip", "link", "set", "eth0", "up");
    return ns;
  };
  const nodes = Array.from({ length: count }, (_, i) => node(machine, i + 1));
  return { underlay, nodes, machine };
}

function node(machine: TestCluster["machine"], number: number): TestNode {
  const ns = machine(`node${number}`, number);
  ns.exec("sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1");
  // What distributions set for devices that come later: strict.
  ns.exec(
    "sysctl",
    "-qw",
    "net.ipv4.conf.all.rp_filter=0",
    "net.ipv4.conf.eth0.rp_filter=0",
    "net.ipv4.conf.default.rp_filter=1",
  );
  const local: LocalNetwork = {
    network: "default",
    node: `node${number}`,
    vni: 4096,
    device: "sky.4096",
    port: 4789,
    mtu: 1450,
    mac: derivedMac(`node${number}/4096`),
    underlayIp: underlayIp(number),
    podCidrs: [`10.244.${number}.0/24`, `fd00:10:244:${number}::/64`],
    clusterCidrs: ["10.244.0.0/16", "fd00:10:244::/48"],
  };
  const { mac, podCidrs } = local;
  const peer: Peer = { node: local.node, mac, underlayIp: local.underlayIp, podCidrs };
  return { number, ns, local, peer, pod: (n) => pod(ns, number, n) };
}

/** Makes pod `n` on a node that has this number in its pod CIDRs. */
export function pod(host: TestNamespace, node: number, n: number): TestPod {
  const ns = testNamespace(`pod${node}x${n}`);
  const hostIfname = `sky${n}pod`;
  const ips = [`10.244.${node}.${n}`, `fd00:10:244:${node}::${n.toString(16)}`];
  ns.exec("ip", "link", "add", "eth0", "mtu", "1450", "type", "veth", "peer", "name", hostIfname, "netns", host.name);
  host.exec("sysctl", "-qw", `net.ipv6.conf.${hostIfname}.accept_dad=0`);
  host.exec(
    "ip",
    "link",
    "set",
    hostIfname,
    "address",
    "ee:ee:ee:ee:ee:ee",
    "group",
    String(POD_LINK_GROUP),
    "mtu",
    "1450",
    "up",
  );
  host.exec("ip", "addr", "add", "fe80::1/64", "dev", hostIfname, "nodad");
  ns.exec("ip", "link", "set", "eth0", "up");
  for (const [i, ip] of ips.entries()) {
    const [prefix, gateway] = i === 0 ? ["32", "169.254.1.1"] : ["128", "fe80::1"];
    const flags = i === 0 ? [] : ["nodad"];
    ns.exec("ip", "addr", "add", `${ip}/${prefix}`, "dev", "eth0", ...flags);
    ns.exec("ip", "neigh", "replace", gateway, "lladdr", "ee:ee:ee:ee:ee:ee", "dev", "eth0", "nud", "permanent");
    ns.exec("ip", ...(i === 0 ? [] : ["-6"]), "route", "add", "default", "via", gateway, "dev", "eth0", "onlink");
    host.exec("ip", "route", "add", `${ip}/${prefix}`, "dev", hostIfname, "proto", "83");
  }
  return { ns, ips, hostIfname };
}

/** Starts a node's overlay with all other nodes for peers; the caller stops it. */
export async function startOverlay(
  { nodes }: TestCluster,
  { local, ns }: TestNode,
  more: Partial<ReconcilerOptions> = {},
): Promise<OverlayReconciler> {
  const overlay = new OverlayReconciler({ local, netns: ns.path, logger: recordingLogger(), ...more });
  try {
    overlay.setPeers(nodes.filter((other) => other.local !== local).map(({ peer }) => peer));
    await overlay.start();
    return overlay;
  } catch (error) {
    await overlay.stop();
    throw error;
  }
}

/** Everything that iproute2 shows of a device, as text that can be compared; without what only counts or ages. */
export function shown(ns: TestNamespace, device = "sky.4096"): Record<string, string[]> {
  const [link = {}] = ns.json("ip", "-j", "-d", "link", "show", "dev", device);
  const { info_data: info = {} } = (link["linkinfo"] ?? {}) as { info_data?: Record<string, unknown> };
  const [{ addr_info: addresses = [] } = {}] = ns.json("ip", "-j", "addr", "show", "dev", device) as {
    addr_info?: Record<string, unknown>[];
  }[];
  const both = (...args: string[]) => ["-4", "-6"].flatMap((family) => ns.json("ip", "-j", "-d", family, ...args));
  const list = (value: unknown): string => (Array.isArray(value) ? value.join() : "");
  return {
    link: [
      `${String(link["address"])} mtu ${String(link["mtu"])} ${list(link["flags"]).includes("UP") ? "up" : "down"}`,
      `id ${String(info["id"])} local ${String(info["local"] ?? info["local6"])} dstport ${String(info["port"])}`,
      `learning ${String(info["learning"])} alias ${String(link["ifalias"])} group ${String(link["group"])}`,
    ],
    addresses: addresses.map((a) => `${String(a["local"])}/${String(a["prefixlen"])}`).sort(),
    fdb: ns
      .exec("bridge", "fdb", "show", "dev", device)
      .split("\n")
      .map((line) => line.trim())
      .filter((line) => line !== "")
      .sort(),
    neighbours: both("neigh", "show", "dev", device, "nud", "permanent")
      .map((n) => `${String(n["dst"])} ${String(n["lladdr"])} ${list(n["state"])}`)
      .sort(),
    routes: both("route", "show", "dev", device)
      .map(
        (r) =>
          `${String(r["dst"])} via ${String(r["gateway"])} proto ${String(r["protocol"])} src ${String(r["prefsrc"])} ${list(r["flags"])}`,
      )
      .sort(),
  };
}

/** Pings until there is an answer: addresses of a link that has just come up take a moment. @throws Error after some seconds */
export async function reaches(from: TestNamespace, to: string, ...more: string[]): Promise<void> {
  await eventually(() => pings(from, to, ...more), { timeoutMs: 8_000, message: `${to} did not answer ${from.name}` });
}

/** Whether something answers pings: one attempt, up to a second. */
export function pings(from: TestNamespace, to: string, ...more: string[]): boolean {
  try {
    from.exec("ping", "-c", "1", "-W", "1", ...more, to);
    return true;
  } catch (error) {
    if (/ping/.test(String(error))) return false;
    throw error;
  }
}
