/**
 * Two nodes with an overlay, pods in which packets are made and seen by hand, and the fast path on both nodes: nothing answers but what a test sends, so
 * that each packet's way is known. The nodes follow connections as they do in a cluster, whose kube-proxy drops what belongs to none.
 */
import { closeSync } from "node:fs";
import { ipToBytes } from "../../../src/addr/index.ts";
import { Conntrack } from "../../../src/dataplane/conntrack/index.ts";
import { FastPath, type FastPathOptions, type PacketCount } from "../../../src/dataplane/fast-path/index.ts";
import type { OverlayReconciler } from "../../../src/dataplane/vxlan/index.ts";
import { Monitor, Rtnl } from "../../../src/netlink/index.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { libc } from "../../../src/sys/libc.ts";
import { eventually } from "../../support/eventually.ts";
import { frame, FrameSender, ipPacket } from "../support/frames.ts";
import type { TestNamespace } from "../support/netns.ts";
import { recordingLogger, startOverlay, testCluster, type TestCluster, type TestNode } from "../overlay/cluster.ts";

export const HOST_MAC = "ee:ee:ee:ee:ee:ee";
const FLAGS = { FIN: 1, SYN: 2, RST: 4, ACK: 16 } as const;
const MSG_DONTWAIT = 0x40;

/** What comes to a device, as frames. */
export class FrameReceiver implements Disposable {
  readonly #fd: number;
  readonly #buffer = Buffer.alloc(1 << 17);

  constructor(netns: string, device: string) {
    this.#fd = withNetns(netns, () => {
      using rtnl = Rtnl.open();
      const { index } = rtnl.link(device) as { index: number };
      const { call } = libc();
      const fd = call.socket(17, 3, 0);
      const option = Buffer.from([1, 0, 0, 0]);
      call.setsockopt(fd, 263, 23, option, 4);
      const address = Buffer.alloc(20);
      address.writeUInt16LE(17, 0);
      address.writeUInt16BE(3, 2);
      address.writeInt32LE(index, 4);
      if (call.bind(fd, address, 20) !== 0) throw new Error(`no packet socket at ${device}`);
      return fd;
    });
  }

  /** All IP packets to this device alone that have come since the last call, with their frame; none of ICMPv6. */
  take(): Buffer[] {
    const frames: Buffer[] = [];
    const { call } = libc();
    for (;;) {
      const address = Buffer.alloc(20);
      const length = Buffer.from([20, 0, 0, 0]);
      const got = Number(
        call.recvfrom(this.#fd, this.#buffer, BigInt(this.#buffer.length), MSG_DONTWAIT, address, length),
      );
      if (got < 0) return frames;
      const type = this.#buffer.readUInt16BE(12);
      const icmp6 = type === 0x86dd && this.#buffer[20] === 58;
      const toMany = ((this.#buffer[0] as number) & 1) === 1;
      if ((type === 0x0800 || type === 0x86dd) && !icmp6 && !toMany)
        frames.push(Buffer.from(this.#buffer.subarray(0, got)));
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

/** A pod in which packets are made by hand. */
export interface HandPod {
  ns: TestNamespace;
  node: TestNode;
  ips: string[];
  mac: string;
  hostIfname: string;
  sender: FrameSender;
  receiver: FrameReceiver;
}

/** Both nodes, and what was started on them. */
export interface FastCluster {
  cluster: TestCluster;
  overlays: OverlayReconciler[];
  pod(node: number, n: number): HandPod;
  /** Starts the fast path on every node. */
  on(): Promise<FastPath[]>;
  off(): Promise<void>;
  /** The kernel forgets all connections of the nodes. */
  forget(): Promise<void>;
  repairs: string[];
}

/** Has each of two nodes reach the other one without the tunnel. */
function routeDirectly([one, two]: readonly TestNode[]): void {
  for (const [node, other] of [
    [one, two],
    [two, one],
  ] as [TestNode, TestNode][]) {
    const [{ ifindex } = {}] = other.ns.json("ip", "-j", "link", "show", "eth0") as { ifindex?: number }[];
    const direct = [`172.30.0.${node.number}`, `fd30::${node.number}`].map((gateway) => ({
      gateway,
      ifindex: ifindex as number,
    }));
    node.local = { ...node.local, directRouting: "auto" };
    node.peer = { ...node.peer, direct };
  }
}

/** How packets go between nodes: in a tunnel, without one, or in one whose underlay device programs have no part in. */
export type How = "tunnel" | "direct" | "isolated";

/** Makes them, with an underlay of a family. Call it in a hook. */
export async function fastCluster(
  underlay: 4 | 6 = 4,
  how: How = "tunnel",
  attachBy?: FastPathOptions["attachBy"],
): Promise<FastCluster> {
  const cluster = testCluster(2);
  if (how === "direct") routeDirectly(cluster.nodes);
  const overlays: OverlayReconciler[] = [];
  const paths: FastPath[] = [];
  const pods: HandPod[] = [];
  const repairs: string[] = [];
  for (const node of cluster.nodes) {
    if (underlay === 6) {
      const ip = `fd30::${node.number}`;
      node.local = { ...node.local, underlayIp: ip, mtu: 1_430 };
      node.peer = { ...node.peer, underlayIp: ip };
    }
    node.ns.exec(
      "nft",
      "table inet kube {\nchain forward { type filter hook forward priority 0; ct state invalid drop; }\n}",
    );
  }
  for (const node of cluster.nodes) overlays.push(await startOverlay(cluster, node));
  const off = async (): Promise<void> => {
    await Promise.all(paths.splice(0).map((path) => path.stop()));
  };
  after(async () => {
    await off();
    for (const { sender, receiver } of pods) {
      sender[Symbol.dispose]();
      receiver[Symbol.dispose]();
    }
    await Promise.all(overlays.map((overlay) => overlay.stop()));
  });
  return {
    cluster,
    overlays,
    repairs,
    off,
    pod(number, n) {
      const node = cluster.nodes[number - 1] as TestNode;
      const { ns, ips, hostIfname } = node.pod(n);
      ns.exec(
        "nft",
        "table inet deaf {\nchain deaf { type filter hook prerouting priority -300; meta l4proto { tcp, udp, icmp } drop; }\n}",
      );
      const sender = new FrameSender(ns.path, "eth0");
      for (const ip of ips)
        node.ns.exec("ip", "neigh", "replace", ip, "lladdr", sender.mac, "dev", hostIfname, "nud", "permanent");
      const pod = { ns, node, ips, hostIfname, mac: sender.mac, sender, receiver: new FrameReceiver(ns.path, "eth0") };
      pods.push(pod);
      return pod;
    },
    async on() {
      for (const { ns, local } of cluster.nodes) {
        const path = new FastPath({
          log: recordingLogger(),
          netns: ns.path,
          ...(attachBy && { attachBy }),
          watch: (listener) =>
            Monitor.open({
              netns: ns.path,
              kinds: ["link", "address", "route", "neighbour", "netconf", "tc"],
              ...bound(listener),
            }),
          onRepair: (kind) => void repairs.push(kind),
        });
        paths.push(path);
        path.setLocal(how === "isolated" ? { ...local, isolated: true } : local);
        path.setPeers(cluster.nodes.filter((other) => other.local !== local).map(({ peer }) => peer));
      }
      await Promise.all(paths.map((path) => path.settled()));
      return paths;
    },
    async forget() {
      for (const { ns } of cluster.nodes) {
        using conntrack = Conntrack.open(ns.path);
        for (const connection of await conntrack.select(() => true)) conntrack.delete(connection);
      }
    },
  };
}

const bound = (listener: { onEvents: (events: never[]) => void; onResync: (reason: string) => void }) => ({
  onEvents: (events: unknown[]) => listener.onEvents(events as never[]),
  onResync: (reason: string) => listener.onResync(reason),
});

function sum16(data: Buffer): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += (data[i] as number) * 256 + (data[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** A segment or datagram with its checksum. */
function above(source: string, destination: string, protocol: 6 | 17, header: Buffer, payload: Buffer): Buffer {
  const whole = Buffer.concat([header, payload]);
  const pseudo = Buffer.concat([
    ipToBytes(source),
    ipToBytes(destination),
    Buffer.from([0, protocol, whole.length >> 8, whole.length & 0xff]),
    whole,
  ]);
  whole.writeUInt16BE(sum16(pseudo) || 0xffff, protocol === 6 ? 16 : 6);
  return whole;
}

/** Who talks to whom, by which ports. */
export interface Talk {
  source: string;
  destination: string;
  sport: number;
  dport: number;
}
export const back = ({ source, destination, sport, dport }: Talk): Talk => ({
  source: destination,
  destination: source,
  sport: dport,
  dport: sport,
});

/** A TCP segment as an IP packet. */
export function tcp(
  talk: Talk,
  flags: (keyof typeof FLAGS)[],
  seq: number,
  ack: number,
  payload = Buffer.alloc(0),
  hops = 64,
): Buffer {
  const header = Buffer.alloc(20);
  header.writeUInt16BE(talk.sport, 0);
  header.writeUInt16BE(talk.dport, 2);
  header.writeUInt32BE(seq, 4);
  header.writeUInt32BE(ack, 8);
  header[12] = 0x50;
  header[13] = flags.reduce((all, flag) => all | FLAGS[flag], 0);
  header.writeUInt16BE(0xffff, 14);
  return ipPacket(talk.source, talk.destination, 6, above(talk.source, talk.destination, 6, header, payload), hops);
}

/** A UDP datagram as an IP packet, with its checksum. */
export function datagram(talk: Talk, payload = Buffer.from("hello"), hops = 64): Buffer {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(talk.sport, 0);
  header.writeUInt16BE(talk.dport, 2);
  header.writeUInt16BE(8 + payload.length, 4);
  return ipPacket(talk.source, talk.destination, 17, above(talk.source, talk.destination, 17, header, payload), hops);
}

/** Sends packets out of a pod. */
export function send(pod: HandPod, ...packets: Buffer[]): void {
  for (const packet of packets) pod.sender.send(frame(pod.mac, HOST_MAC, packet));
}

/** Waits until so many packets have come to a pod; returns them. @throws Error when they do not come */
export async function come(pod: HandPod, count: number): Promise<Buffer[]> {
  const got: Buffer[] = [];
  await eventually(
    () => {
      got.push(...pod.receiver.take());
      return got.length >= count;
    },
    { timeoutMs: 10_000, intervalMs: 2, message: `${count} packets for ${pod.ips[0]}` },
  );
  return got;
}

/** Begins a connection between two pods: both sides know it as established. */
export async function handshake(from: HandPod, to: HandPod, talk: Talk): Promise<void> {
  send(from, tcp(talk, ["SYN"], 1_000, 0));
  await come(to, 1);
  send(to, tcp(back(talk), ["SYN", "ACK"], 5_000, 1_001));
  await come(from, 1);
  send(from, tcp(talk, ["ACK"], 1_001, 5_001));
  await come(to, 1);
}

/** How many packets came to be fast on a node, by what they were. */
export const packets = (path: FastPath, from: PacketCount["from"], outcome: PacketCount["outcome"]): number =>
  path.status().packets.find((one) => one.from === from && one.outcome === outcome)?.packets ?? 0;

/** An IP packet in a tunnel's frame from a machine on the underlay. */
export function tunnelled(o: {
  from: { mac: string; ip: string };
  to: { mac: string; ip: string };
  vni: number;
  inner: { source: string; destination: string; packet: Buffer };
  port?: number;
  /** Type of service of the outer packet. */
  tos?: number;
}): Buffer {
  const vxlan = Buffer.alloc(8);
  vxlan[0] = 8;
  vxlan.writeUIntBE(o.vni, 4, 3);
  const payload = Buffer.concat([vxlan, frame(o.inner.source, o.inner.destination, o.inner.packet)]);
  const talk = { source: o.from.ip, destination: o.to.ip, sport: 40_000, dport: o.port ?? 4_789 };
  const packet = datagram(talk, payload);
  const tos = o.tos ?? 0;
  if ((packet[0] as number) >> 4 === 6) packet.writeUInt16BE(0x6000 | (tos << 4), 0);
  else {
    packet[1] = tos;
    packet.writeUInt16BE(0, 10);
    packet.writeUInt16BE(sum16(packet.subarray(0, 20)), 10);
  }
  return frame(o.from.mac, o.to.mac, packet);
}
