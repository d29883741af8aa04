/** Frames made by hand, sent from whatever a namespace has: what a pod with CAP_NET_RAW can do. */
import { closeSync } from "node:fs";
import { setImmediate as nextTurn } from "node:timers/promises";
import { ipToBytes, macToBytes } from "../../../src/addr/index.ts";
import { Rtnl } from "../../../src/netlink/index.ts";
import { withNetns } from "../../../src/sys/index.ts";
import { libc } from "../../../src/sys/libc.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
/** struct sockaddr_ll. */
const ADDRESS = 20;
/** Frames between which the event loop turns. */
const TURN = 256;

export const BROADCAST = "ff:ff:ff:ff:ff:ff";

/** Sends frames out of a device until it is closed. */
export class FrameSender implements Disposable {
  /** MAC of the device. */
  readonly mac: string;
  readonly #fd: number;
  readonly #address: Buffer;

  constructor(netns: string, device: string) {
    const { fd, index, mac } = withNetns(netns, () => {
      using rtnl = Rtnl.open();
      const link = rtnl.link(device);
      if (!link?.mac) throw new Error(`there is no ${device} in ${netns}`);
      return { fd: libc().call.socket(AF_PACKET, SOCK_RAW, 0), index: link.index, mac: link.mac };
    });
    if (fd < 0) throw new Error("a packet socket cannot be opened");
    this.#fd = fd;
    this.mac = mac;
    this.#address = Buffer.alloc(ADDRESS);
    this.#address.writeUInt16LE(AF_PACKET, 0);
    this.#address.writeInt32LE(index, 4);
  }

  /** Sends one frame. What a full queue drops is dropped. */
  send(frame: Buffer): void {
    libc().call.sendto(this.#fd, frame, BigInt(frame.length), 0, this.#address, ADDRESS);
  }

  /** Sends so many frames, with turns of the event loop in between. */
  async flood(count: number, frame: (n: number) => Buffer): Promise<void> {
    for (let n = 0; n < count; n++) {
      this.send(frame(n));
      if (n % TURN === 0) await nextTurn();
    }
  }

  [Symbol.dispose](): void {
    closeSync(this.#fd);
  }
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 0xff]);
const ethernet = (src: string, dst: string, type: number, body: Buffer): Buffer =>
  Buffer.concat([macToBytes(dst), macToBytes(src), u16(type), body]);

/** An ARP packet (RFC 826). */
export function arp(o: {
  src: string;
  dst?: string;
  operation?: "request" | "reply";
  sender: { mac?: string; ip: string };
  target: { mac?: string; ip: string };
}): Buffer {
  const { src, dst = BROADCAST, operation = "request", sender, target } = o;
  const body = Buffer.concat([
    Buffer.from([0, 1, 8, 0, 6, 4, 0, operation === "request" ? 1 : 2]),
    macToBytes(sender.mac ?? src),
    ipToBytes(sender.ip),
    macToBytes(target.mac ?? "00:00:00:00:00:00"),
    ipToBytes(target.ip),
    Buffer.alloc(18),
  ]);
  return ethernet(src, dst, 0x0806, body);
}

function checksum(data: Buffer): number {
  let sum = 0;
  for (let i = 0; i < data.length; i += 2) sum += (data[i] as number) * 256 + (data[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** An IP packet of either family, by its addresses. */
export function ipPacket(source: string, destination: string, protocol: number, payload: Buffer, hops = 64): Buffer {
  const [src, dst] = [Buffer.from(ipToBytes(source)), Buffer.from(ipToBytes(destination))];
  if (src.length === 16) {
    const header = Buffer.from([0x60, 0, 0, 0, payload.length >> 8, payload.length & 0xff, protocol, hops]);
    return Buffer.concat([header, src, dst, payload]);
  }
  const total = 20 + payload.length;
  const header = Buffer.from([0x45, 0, total >> 8, total & 0xff, 0, 0, 0, 0, hops, protocol, 0, 0, ...src, ...dst]);
  header.writeUInt16BE(checksum(header), 10);
  return Buffer.concat([header, payload]);
}

/** An ICMPv6 message with its checksum (RFC 4443, section 2.3). */
export function icmp6(source: string, destination: string, message: Buffer, hops = 255): Buffer {
  const pseudo = Buffer.concat([
    ipToBytes(source),
    ipToBytes(destination),
    Buffer.from([0, 0, message.length >> 8, message.length & 0xff, 0, 0, 0, 58]),
  ]);
  const whole = Buffer.from(message);
  whole.writeUInt16BE(0, 2);
  whole.writeUInt16BE(checksum(Buffer.concat([pseudo, whole])), 2);
  return ipPacket(source, destination, 58, whole, hops);
}

/** A neighbour solicitation (135) or advertisement (136) with a link-layer address in it (RFC 4861). */
export const neighbour = (type: 135 | 136, target: string, mac: string, flags = 0): Buffer =>
  Buffer.concat([
    Buffer.from([type, 0, 0, 0, flags, 0, 0, 0]),
    ipToBytes(target),
    Buffer.from([type === 135 ? 1 : 2, 1]),
    macToBytes(mac),
  ]);

/** A router solicitation (RFC 4861, section 4.1). */
export const routerSolicitation = (mac: string): Buffer =>
  Buffer.concat([Buffer.from([133, 0, 0, 0, 0, 0, 0, 0, 1, 1]), macToBytes(mac)]);

/** A UDP datagram; without a checksum, as only IPv4 allows it. */
export const udp = (source: string, destination: string, port: number, payload = Buffer.alloc(8)): Buffer =>
  ipPacket(source, destination, 17, Buffer.concat([u16(4_000), u16(port), u16(8 + payload.length), u16(0), payload]));

/** An echo request of either family. */
export const echo = (source: string, destination: string): Buffer => {
  const message = Buffer.from([source.includes(":") ? 128 : 8, 0, 0, 0, 0, 1, 0, 1, 1, 2, 3, 4]);
  if (source.includes(":")) return icmp6(source, destination, message, 64);
  message.writeUInt16BE(checksum(message), 2);
  return ipPacket(source, destination, 1, message);
};

/** A frame around an IP packet. */
export const frame = (src: string, dst: string, packet: Buffer): Buffer =>
  ethernet(src, dst, (packet[0] as number) >> 4 === 4 ? 0x0800 : 0x86dd, packet);

/** The same with an 802.1Q tag before it. */
export const tagged = (untagged: Buffer, vlan: number): Buffer =>
  Buffer.concat([untagged.subarray(0, 12), Buffer.from([0x81, 0x00, vlan >> 8, vlan & 0xff]), untagged.subarray(12)]);
