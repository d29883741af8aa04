/**
 * What a marked packet is, and by what it is known: bytes that nobody can guess, so that no other packet is taken for it. Its source is no part of
 * that: who gives it another one on the way is to be seen. Pure.
 */
import { randomBytes } from "node:crypto";
import { type Family, familyOf, ipToBytes } from "../../../addr/index.ts";
import type { MarkingRule, Match } from "../../../dataplane/nftrace/index.ts";
import { checksum, transportChecksum } from "../../../sys/index.ts";
import { UsageError } from "../../command.ts";
import type { Traffic } from "../types.ts";
import type { Kind } from "./types.ts";

/** The mark of one trace. */
export interface Mark {
  /** Data of UDP and ICMP. */
  nonce: Buffer;
  /** TCP's sequence number. */
  sequence: number;
  /** The source port of TCP and UDP. */
  port: number;
}

/** The packet that is marked. */
export interface MarkedPacket {
  from: string;
  to: string;
  traffic: Traffic;
  mark: Mark;
}

const NONCE = 8;
const MARK_BYTES = NONCE + 4 + 2;
/** Ports that Linux gives away by itself by default (ip(7), ip_local_port_range). */
const PORTS = { first: 32_768, count: 28_232 } as const;

/** As `--mark` has it, anew. */
export const newMark = (): string => randomBytes(MARK_BYTES).toString("hex");

/** @throws UsageError */
export function parseMark(text: string): Mark {
  if (!/^[0-9a-f]+$/.test(text) || text.length !== 2 * MARK_BYTES)
    throw new UsageError(`--mark must be ${2 * MARK_BYTES} hexadecimal digits`);
  const bytes = Buffer.from(text, "hex");
  return {
    nonce: bytes.subarray(0, NONCE),
    sequence: bytes.readUInt32BE(NONCE),
    port: PORTS.first + (bytes.readUInt16BE(NONCE + 4) % PORTS.count),
  };
}

const TCP = 6;
const UDP = 17;
const SYN = 0x02;
/** IPv4's protocol, and of ICMP request and reply (RFC 792, RFC 4443). */
const ICMP = { 4: { protocol: 1, request: 8, reply: 0 }, 6: { protocol: 58, request: 128, reply: 129 } } as const;
/** Bytes of an IP header without options, and where in it are protocol, source and destination (RFC 791, RFC 8200). */
const IP = {
  4: { length: 20, protocol: 9, source: 12, destination: 16 },
  6: { length: 40, protocol: 6, source: 8, destination: 24 },
} as const;
/** Of a VXLAN packet, behind its UDP header's beginning: UDP, VXLAN (RFC 7348) and Ethernet headers; where Ethernet says what is in it. */
const INNER = 8 + 8 + 14;
const ETHER_TYPE_AT = INNER - 2;
const ETHER_TYPES = { 4: 0x0800, 6: 0x86dd } as const;
const ICMP_HEADER = 8;

const port16 = (port: number): Buffer => {
  const bytes = Buffer.alloc(2);
  bytes.writeUInt16BE(port);
  return bytes;
};

const word = (value: number): Buffer => {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value >>> 0);
  return bytes;
};

/** The number of the protocol above IP. @throws UsageError for one of which no packet is made */
export function protocolOf({ protocol }: Traffic, family: Family): number {
  if (protocol === "tcp") return TCP;
  if (protocol === "udp") return UDP;
  if (protocol === "icmp") return ICMP[family].protocol;
  throw new UsageError(`--live sends tcp, udp or icmp, not ${protocol}`);
}

/** What is sent, behind the IP header: an echo request, a datagram with the nonce, or a SYN. */
export function dataOf({ from, to, traffic, mark }: MarkedPacket): Buffer {
  const family = familyOf(to);
  const protocol = protocolOf(traffic, family);
  const { nonce, sequence, port } = mark;
  const { port: target = 0 } = traffic;
  if (protocol === TCP) {
    const data = Buffer.concat([port16(port), port16(target), word(sequence), word(0), Buffer.alloc(8)]);
    data[12] = (data.length / 4) << 4;
    data[13] = SYN;
    // As large as it may be without scaling: nothing is sent into it.
    data.writeUInt16BE(0xffff, 14);
    data.writeUInt16BE(transportChecksum({ from, to, protocol, data }), 16);
    return data;
  }
  if (protocol === UDP) {
    const data = Buffer.concat([port16(port), port16(target), port16(8 + nonce.length), port16(0), nonce]);
    // Zero would be none (RFC 768).
    data.writeUInt16BE(transportChecksum({ from, to, protocol, data }) || 0xffff, 6);
    return data;
  }
  const data = Buffer.concat([Buffer.from([ICMP[family].request, 0, 0, 0]), port16(port), port16(1), nonce]);
  data.writeUInt16BE(checksumOf({ from, to, protocol, data }, family), 2);
  return data;
}

/** IPv4's ICMP has no addresses in its checksum; that is zero bytes in theirs. */
const checksumOf = (packet: Parameters<typeof transportChecksum>[0], family: Family): number =>
  family === 6 ? transportChecksum(packet) : checksum(packet.data);

/** Where IP and transport header of a packet are to be found: its own, or those inside another one. */
interface Place {
  ip: (offset: number, bytes: Uint8Array) => Match;
  transport: (offset: number, bytes: Uint8Array) => Match;
  protocol: (number: number) => Match;
}

const own: Place = {
  ip: (offset, bytes) => ({ header: "network", offset, bytes }),
  transport: (offset, bytes) => ({ header: "transport", offset, bytes }),
  protocol: (number) => ({ meta: "l4proto", value: number }),
};

/** Behind so many bytes of the transport header. */
const inside = (family: Family, at: number): Place => ({
  ip: (offset, bytes) => ({ header: "transport", offset: at + offset, bytes }),
  transport: (offset, bytes) => ({ header: "transport", offset: at + IP[family].length + offset, bytes }),
  protocol: (number) => ({ header: "transport", offset: at + IP[family].protocol, bytes: Uint8Array.of(number) }),
});

/** The packet itself. @param cut as an error quotes it, of which no more than eight bytes of TCP need be there */
function request({ to, traffic, mark }: MarkedPacket, at: Place, cut: boolean): Match[] {
  const family = familyOf(to);
  const protocol = protocolOf(traffic, family);
  const common = [at.protocol(protocol), at.ip(IP[family].destination, ipToBytes(to))];
  const target = port16(traffic.port ?? 0);
  if (protocol === TCP)
    return [
      ...common,
      at.transport(2, Buffer.concat([target, word(mark.sequence)])),
      ...(cut ? [] : [at.transport(13, Uint8Array.of(SYN))]),
    ];
  if (protocol === UDP) return [...common, at.transport(2, target), at.transport(8, mark.nonce)];
  return [...common, at.transport(0, Uint8Array.of(ICMP[family].request)), at.transport(8, mark.nonce)];
}

/** What its receiver says to it. What a UDP service answers is its own: that it goes to a port that nobody else uses has to do. */
function answer({ from, to, traffic, mark }: MarkedPacket, at: Place): Match[] {
  const family = familyOf(to);
  const protocol = protocolOf(traffic, family);
  const common = [at.protocol(protocol), at.ip(IP[family].source, ipToBytes(to))];
  const source = port16(traffic.port ?? 0);
  if (protocol === TCP) return [...common, at.transport(0, source), at.transport(8, word(mark.sequence + 1))];
  if (protocol === UDP)
    return [
      ...common,
      at.ip(IP[family].destination, ipToBytes(from)),
      at.transport(0, Buffer.concat([source, port16(mark.port)])),
    ];
  return [...common, at.transport(0, Uint8Array.of(ICMP[family].reply)), at.transport(8, mark.nonce)];
}

/** An ICMP error, by the packet that it quotes. @param outer where the error itself begins, inside VXLAN */
function error(packet: MarkedPacket, outer?: number): Match[] {
  const family = familyOf(packet.to);
  const at = outer === undefined ? own : inside(family, outer);
  const quoted = (outer === undefined ? 0 : outer + IP[family].length) + ICMP_HEADER;
  return [at.protocol(ICMP[family].protocol), ...request(packet, inside(family, quoted), true)];
}

/** The name of a kind in traces. */
export const markOf = (kind: Kind, outer: boolean): string => (outer ? `${kind}_tunnel` : kind);

/** By what a node's packet filter knows the packet and what comes back, bare and inside VXLAN. @throws UsageError */
export function rulesFor(packet: MarkedPacket): MarkingRule[] {
  const family = familyOf(packet.to);
  const bare: Match = { meta: "nfproto", value: family === 4 ? 2 : 10 };
  const tunnelled: Match[] = [
    { meta: "l4proto", value: UDP },
    { header: "transport", offset: ETHER_TYPE_AT, bytes: port16(ETHER_TYPES[family]) },
  ];
  const within = inside(family, INNER);
  const inner = {
    request: [bare, ...request(packet, own, false)],
    answer: [bare, ...answer(packet, own)],
    error: [bare, ...error(packet)],
  };
  const outer = {
    request: [...tunnelled, ...request(packet, within, false)],
    answer: [...tunnelled, ...answer(packet, within)],
    error: [...tunnelled, ...error(packet, INNER)],
  };
  const hooks = ["prerouting", "output"] as const;
  return (["request", "answer", "error"] as const).flatMap((kind) => [
    ...hooks.map((hook) => ({ name: markOf(kind, true), hook, matches: outer[kind] })),
    // The two pods' own packets arrive; errors are also sent by the node itself.
    ...hooks
      .filter((hook) => hook === "prerouting" || kind === "error")
      .map((hook) => ({ name: markOf(kind, false), hook, matches: inner[kind] })),
  ]);
}
