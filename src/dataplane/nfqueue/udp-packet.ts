/** What a UDP packet carries, and whom to, of its bytes (RFC 768). */
import { ipPayload } from "./ip-payload.ts";

export interface UdpPacket {
  /** Canonical. */
  destination: string;
  payload: Buffer;
}

const UDP = 17;
const UDP_HEADER = 8;

/** Takes a packet apart; undefined where it is no whole UDP packet, or has extension headers. */
export function udpPacket(packet: Buffer): UdpPacket | undefined {
  const found = ipPayload(packet, UDP);
  if (!found || found.bytes.length < UDP_HEADER) return undefined;
  const { bytes, destination } = found;
  const end = bytes.readUInt16BE(4);
  if (end < UDP_HEADER || end > bytes.length) return undefined;
  return { destination, payload: bytes.subarray(UDP_HEADER, end) };
}
