/**
 * Nodes that take part in several pod networks at once: hosts on one underlay, each with the default network in its own
 * namespace and a namespace for every other network. The networks have the same CIDRs, the default one's included, and the
 * same MACs, so that only the namespaces and the VNI keep them apart.
 */
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync, symlinkSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { derivedMac } from "../../../src/addr/index.ts";
import { openNetworkNetns } from "../../../src/dataplane/netns/index.ts";
import { Firewall, tunnelRules } from "../../../src/dataplane/nft/index.ts";
import type { LocalNetwork, Peer } from "../../../src/peers/index.ts";
import type { PodLink } from "../../../src/dataplane/pod-link/index.ts";
import { recordingLogger, type TestNode } from "../overlay/cluster.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";
import { RunningNetwork } from "./running-network.ts";

/** A pod network, but for its part on a node. */
export interface TestNetwork {
  name: string;
  vni: number;
}

/** A pod and its end. */
export interface NetworkPod {
  ns: TestNamespace;
  ips: [v4: string, v6: string];
  containerId: string;
  link: PodLink;
}

/** One node's part in one network. */
export class Part {
  readonly node: TestNode;
  readonly ns: TestNamespace;
  readonly local: LocalNetwork;
  readonly peer: Peer;
  running: RunningNetwork | undefined;
  readonly #dir = mkdtempSync(join(tmpdir(), "skylane-networks-"));

  constructor(node: TestNode, { name, vni }: TestNetwork) {
    const { number } = node;
    this.node = node;
    this.ns = testNamespace(`${name}${number}`);
    symlinkSync(this.ns.path, join(this.#dir, `sky-${name}`));
    this.local = {
      ...node.local,
      network: name,
      vni,
      device: `sky.${vni}`,
      mac: derivedMac(`node${number}/tenants`),
      podCidrs: [`10.244.${number}.0/26`, `fd00:10:244:${number}::/122`, `10.244.${number}.64/26`],
      isolated: true,
    };
    const { mac, podCidrs, underlayIp } = this.local;
    this.peer = { node: node.local.node, mac, underlayIp, podCidrs };
  }

  /** Starts what an agent would, with these peers. */
  async start(peers: readonly Peer[]): Promise<RunningNetwork> {
    const netns = openNetworkNetns(this.local.network, this.#dir);
    if (!netns) throw new Error("the namespace is not there");
    this.running = new RunningNetwork({
      netns,
      local: this.local,
      logger: recordingLogger(),
      underlayNetns: this.node.ns.path,
      backoff: { baseMs: 50, maxMs: 200 },
    });
    this.running.setPeers(peers.filter((peer) => peer !== this.peer));
    await this.running.start();
    return this.running;
  }

  get run(): RunningNetwork {
    if (!this.running) throw new Error("not started");
    return this.running;
  }

  /** Makes a pod with number n: its addresses and its MAC are the same in every network. */
  async pod(n: number): Promise<NetworkPod> {
    const { network } = this.local;
    const ns = testNamespace(`${network}${this.node.number}p${n}`);
    const ips: NetworkPod["ips"] = [
      `10.244.${this.node.number}.${n}`,
      `fd00:10:244:${this.node.number}::${n.toString(16)}`,
    ];
    const containerId = randomBytes(32).toString("hex");
    const link = await this.run.attachPod({
      netns: ns.path,
      ifname: "eth0",
      containerId,
      alias: `test/${network}-${n}/eth0`,
      mtu: 1450,
      addresses: n < 64 ? ips : [ips[0]],
      mac: `02:00:00:00:${this.node.number.toString(16).padStart(2, "0")}:${n.toString(16).padStart(2, "0")}`,
    });
    return { ns, ips, containerId, link };
  }

  async stop(): Promise<void> {
    await this.running?.stop();
    this.running = undefined;
    rmSync(this.#dir, { recursive: true, force: true });
  }
}

/** The host's table of a node: the default network's rules, and each network's tunnel with its peers. */
export async function hostFirewall(
  node: TestNode,
  peers: readonly Peer[],
  networks: ReadonlyMap<TestNetwork, readonly Peer[]>,
): Promise<Firewall> {
  const firewall = new Firewall({ netns: node.ns.path, logger: recordingLogger(), forwardPolicy: false });
  const ipsOf = (some: readonly Peer[]) =>
    some.filter((peer) => peer.node !== node.local.node).map(({ underlayIp }) => underlayIp);
  const { port } = node.local;
  firewall.set([
    {
      ...node.local,
      peers: ipsOf(peers),
      masquerade: { enabled: true, exclude: [] },
    },
    ...Array.from(networks, ([{ name, vni }, some]) =>
      tunnelRules({ network: name, vni, port }, () => ({ ips: ipsOf(some) })),
    ),
  ]);
  await firewall.start();
  return firewall;
}

/** Datagrams that have come up to a namespace's UDP, whether or not somebody wanted them. */
export function datagrams({ ns }: { ns: TestNamespace }): number {
  const [, values = ""] = ns
    .exec("cat", "/proc/net/snmp")
    .split("\n")
    .filter((line) => line.startsWith("Udp:"));
  const [, delivered, noPorts] = values.split(" ");
  return Number(delivered) + Number(noPorts);
}

/** Echo requests of both families that have come up to a namespace: nothing else counts, as packets on a link would. */
export function echoes({ ns }: { ns: TestNamespace }): number {
  const [names = "", values = ""] = ns
    .exec("cat", "/proc/net/snmp")
    .split("\n")
    .filter((line) => line.startsWith("Icmp:"));
  const four = Number(values.split(" ")[names.split(" ").indexOf("InEchos")]);
  const six = Number(/^Icmp6InEchos\s+(\d+)$/m.exec(ns.exec("cat", "/proc/net/snmp6"))?.[1]);
  if (Number.isNaN(four + six)) throw new Error(`${ns.name} does not count echo requests`);
  return four + six;
}

const bytesOf = (ip: string): number[] => ip.split(".").map(Number);

/** An Ethernet frame with a UDP datagram to a pod, in VXLAN. */
export function vxlanFrame(o: { vni: number; mac: string; from: string; to: string }): Buffer {
  const payload = Buffer.from("for another tenant");
  const udp = Buffer.alloc(8);
  udp.writeUInt16BE(5555, 0);
  udp.writeUInt16BE(7777, 2);
  udp.writeUInt16BE(8 + payload.length, 4);
  const ip = Buffer.from([0x45, 0, 0, 0, 0, 1, 0, 0, 64, 17, 0, 0, ...bytesOf(o.from), ...bytesOf(o.to)]);
  ip.writeUInt16BE(20 + 8 + payload.length, 2);
  let sum = 0;
  for (let at = 0; at < 20; at += 2) sum += ip.readUInt16BE(at);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  ip.writeUInt16BE(~sum & 0xffff, 10);
  const ethernet = Buffer.from([...o.mac.split(":").map((byte) => Number.parseInt(byte, 16)), 2, 0, 0, 0, 0, 9, 8, 0]);
  const vxlan = Buffer.alloc(8);
  vxlan.writeUInt8(8, 0);
  vxlan.writeUInt32BE(o.vni << 8, 4);
  return Buffer.concat([vxlan, ethernet, ip, udp, payload]);
}

/** Sends a datagram a few times from a namespace; one that has no way out is refused there and then, which is fine. */
export function sendFrom(ns: TestNamespace, to: string, port: number, data: Buffer): void {
  const script = `
    const socket = require("node:dgram").createSocket(${JSON.stringify(to.includes(":") ? "udp6" : "udp4")});
    const data = Buffer.from(${JSON.stringify(data.toString("hex"))}, "hex");
    let left = 3;
    const next = () => (left-- > 0 ? socket.send(data, ${port}, ${JSON.stringify(to)}, () => setTimeout(next, 20)) : socket.close());
    next();`;
  ns.exec(process.execPath, "-e", script);
}
