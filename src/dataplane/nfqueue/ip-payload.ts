/** What an IP packet carries, of its bytes (RFC 791, RFC 8200). */
import { bytesToIp } from "../../addr/index.ts";

/** One without extension headers, which is no fragment. */
export interface IpPayload {
  /** Canonical. */
  source: string;
  /** Canonical. */
  destination: string;
  /** From the header of the protocol on, as far as the packet says that it goes. */
  bytes: Buffer;
}

const IPV4_HEADER = 20;
const IPV6_HEADER = 40;

/** Takes a packet apart; undefined where it is none of this protocol, a fragment, not whole, or has extension headers. @param protocol its number (IANA) */
export function ipPayload(packet: Buffer, protocol: number): IpPayload | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= IPV4_HEADER) {
    const isFragment = (packet.readUInt16BE(6) & 0x3fff) !== 0;
    if (packet[9] !== protocol || isFragment) return undefined;
    return between(packet, 12, 4, ((packet[0] as number) & 0xf) * 4, packet.readUInt16BE(2));
  }
  if (version === 6 && packet.length >= IPV6_HEADER && packet[6] === protocol)
    return between(packet, 8, 16, IPV6_HEADER, IPV6_HEADER + packet.readUInt16BE(4));
  return undefined;
}

function between(packet: Buffer, addresses: number, size: number, start: number, end: number): IpPayload | undefined {
  if (start > end || end > packet.length) return undefined;
  const ip = (at: number): string => bytesToIp(packet.subarray(at, at + size));
  return { source: ip(addresses), destination: ip(addresses + size), bytes: packet.subarray(start, end) };
}
