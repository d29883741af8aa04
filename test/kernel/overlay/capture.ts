/**
 * What crosses the underlay, seen by tcpdump and taken apart here: outer addresses and ports, the VNI, and the inner frame's
 * destination and EtherType.
 */
import { once } from "node:events";
import type { Readable } from "node:stream";
import type { TestNamespace } from "../support/netns.ts";

export interface VxlanPacket {
  port: number;
  vni: number;
  /** Destination MAC of the inner frame. */
  innerDst: string;
  /** EtherType of the inner frame: 0x0800, 0x86dd, 0x0806 … */
  etherType: number;
  /** Next protocol of the inner packet, its ICMPv6 type where it is one. */
  icmp6Type?: number;
}

/** A running capture. */
export interface Capture extends Disposable {
  /** Ends it and returns the UDP packets to the ports that were asked for. */
  stop(): Promise<VxlanPacket[]>;
}

/** Captures UDP packets to ports on a device until it is stopped. Resolves when tcpdump listens. */
export async function capture(ns: TestNamespace, device: string, filter: string): Promise<Capture> {
  const child = ns.spawn(
    "tcpdump",
    ["-i", device, "--immediate-mode", "-U", "-n", "-s", "200", "-w", "-", ...filter.split(" ")],
    {
      stdio: ["ignore", "pipe", "pipe"],
    },
  );
  const [stdout, stderr] = [child.stdout as Readable, child.stderr as Readable];
  const chunks: Buffer[] = [];
  stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  let said = "";
  for await (const text of stderr.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    said += String(text);
    if (said.includes("listening on")) break;
  }
  stderr.resume();
  if (!said.includes("listening on")) throw new Error(`tcpdump: ${said}`);
  return {
    async stop() {
      const closed = once(child, "close");
      child.kill("SIGINT");
      await closed;
      return packetsOf(Buffer.concat(chunks));
    },
    [Symbol.dispose]: () => void child.kill("SIGKILL"),
  };
}

function packetsOf(pcap: Buffer): VxlanPacket[] {
  const packets: VxlanPacket[] = [];
  for (let at = 24; at + 16 <= pcap.length; ) {
    const length = pcap.readUInt32LE(at + 8);
    const packet = decode(pcap.subarray(at + 16, at + 16 + length));
    if (packet) packets.push(packet);
    at += 16 + length;
  }
  return packets;
}

function decode(frame: Buffer): VxlanPacket | undefined {
  const udp = frame.readUInt16BE(12) === 0x86dd ? 14 + 40 : 14 + ((frame[14] as number) & 15) * 4;
  if (frame.length < udp + 8 + 8 + 14) return undefined;
  const inner = frame.subarray(udp + 16);
  const etherType = inner.readUInt16BE(12);
  const isIcmp6 = etherType === 0x86dd && inner[14 + 6] === 58 && inner.length > 14 + 40;
  return {
    port: frame.readUInt16BE(udp + 2),
    vni: frame.readUIntBE(udp + 8 + 4, 3),
    innerDst: inner.subarray(0, 6).toString("hex"),
    etherType,
    ...(isIcmp6 && { icmp6Type: inner[14 + 40] as number }),
  };
}
