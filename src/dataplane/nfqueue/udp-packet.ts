/** What a UDP packet carries, and whom to, of its bytes (RFC 768, RFC 791, RFC 8200). */
import { bytesToIp } from "../../addr/index.ts";

export interface UdpPacket {
  /** Canonical. */
  destination: string;
  payload: Buffer;
}

const UDP = 17;
const UDP_HEADER = 8;
const IPV4_HEADER = 20;
const IPV6_HEADER = 40;

/** Takes a packet apart; undefined where it is no whole UDP packet, or has extension headers. */
export function udpPacket(packet: Buffer): UdpPacket | undefined {
  const version = (packet[0] ?? 0) >> 4;
  if (version === 4 && packet.length >= IPV4_HEADER) {
    const isFragment = (packet.readUInt16BE(6) & 0x3fff) !== 0;
    if (packet[9] !== UDP || isFragment) return undefined;
    return carried(packet, 16, 4, ((packet[0] as number) & 0xf) * 4);
  }
  if (version === 6 && packet.length >= IPV6_HEADER && packet[6] === UDP) return carried(packet, 24, 16, IPV6_HEADER);
  return undefined;
}

function carried(packet: Buffer, destination: number, size: number, header: number): UdpPacket | undefined {
  if (header + UDP_HEADER > packet.length) return undefined;
  const end = header + packet.readUInt16BE(header + 4);
  if (end < header + UDP_HEADER || end > packet.length) return undefined;
  return {
    destination: bytesToIp(packet.subarray(destination, destination + size)),
    payload: packet.subarray(header + UDP_HEADER, end),
  };
}
