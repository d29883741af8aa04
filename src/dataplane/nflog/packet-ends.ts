/** Who sends a packet to whom, of the first bytes of an IP packet (RFC 791, RFC 8200). What a pod sends may be anything. */
import { bytesToIp } from "../../addr/index.ts";

export interface PacketEnds {
  /** Canonical addresses. */
  source: string;
  destination: string;
  /** Number of the protocol above IP (IANA). */
  protocol: number;
  /** The destination's port; undefined for protocols without, for later fragments, and where the bytes end before. */
  port: number | undefined;
}

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;
/** Protocols whose first four bytes are two ports: TCP, UDP, DCCP, SCTP, UDP-Lite. */
const WITH_PORTS: ReadonlySet<number> = new Set([6, 17, 33, 132, 136]);
/** Extension headers of IPv6 whose second byte is their length: hop-by-hop, routing, destination options, mobility. */
const EXTENSIONS: ReadonlySet<number> = new Set([0, 43, 60, 135]);
const FRAGMENT = 44;
const AUTHENTICATION = 51;

/** Ends of a packet; undefined where it is no IP packet or ends before its addresses do. */
export function packetEnds(packet: Buffer): PacketEnds | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= IPV4_HEADER) return ipv4(packet);
  if (version === 6 && packet.length >= IPV6_HEADER) return ipv6(packet);
  return undefined;
}

function ipv4(packet: Buffer): PacketEnds {
  const protocol = packet[9] as number;
  const isFirst = (packet.readUInt16BE(6) & 0x1fff) === 0;
  return {
    source: bytesToIp(packet.subarray(12, 16)),
    destination: bytesToIp(packet.subarray(16, 20)),
    protocol,
    port: isFirst ? portAt(packet, ((packet[0] as number) & 0xf) * 4, protocol) : undefined,
  };
}

function ipv6(packet: Buffer): PacketEnds {
  let protocol = packet[6] as number;
  let at = IPV6_HEADER;
  let isFirst = true;
  while (at + 8 <= packet.length) {
    const length = packet[at + 1] as number;
    if (EXTENSIONS.has(protocol)) [protocol, at] = [packet[at] as number, at + (length + 1) * 8];
    else if (protocol === AUTHENTICATION) [protocol, at] = [packet[at] as number, at + (length + 2) * 4];
    else if (protocol === FRAGMENT) {
      isFirst &&= (packet.readUInt16BE(at + 2) & 0xfff8) === 0;
      [protocol, at] = [packet[at] as number, at + 8];
    } else break;
  }
  return {
    source: bytesToIp(packet.subarray(8, 24)),
    destination: bytesToIp(packet.subarray(24, 40)),
    protocol,
    port: isFirst ? portAt(packet, at, protocol) : undefined,
  };
}

const portAt = (packet: Buffer, at: number, protocol: number): number | undefined =>
  WITH_PORTS.has(protocol) && at + 4 <= packet.length ? packet.readUInt16BE(at + 2) : undefined;
