/** A TCP segment, of a packet's bytes (RFC 9293, section 3.1). */
import { type IpPayload, ipPayload } from "./ip-payload.ts";

export interface TcpSegment extends Pick<IpPayload, "source" | "destination"> {
  sourcePort: number;
  destinationPort: number;
  /** Number of the payload's first byte; of the SYN where there is one, which counts as a byte before it. */
  sequence: number;
  isSyn: boolean;
  /** It is the last of this direction: FIN or RST. */
  isLast: boolean;
  payload: Buffer;
}

const TCP = 6;
const TCP_HEADER = 20;
const FLAG = { FIN: 1, SYN: 2, RST: 4 } as const;

/** Takes a packet apart; undefined where it is no whole TCP segment, or has extension headers. */
export function tcpSegment(packet: Buffer): TcpSegment | undefined {
  const found = ipPayload(packet, TCP);
  if (!found || found.bytes.length < TCP_HEADER) return undefined;
  const { bytes, source, destination } = found;
  const header = ((bytes[12] as number) >> 4) * 4;
  if (header < TCP_HEADER || header > bytes.length) return undefined;
  const flags = bytes[13] as number;
  return {
    source,
    destination,
    sourcePort: bytes.readUInt16BE(0),
    destinationPort: bytes.readUInt16BE(2),
    sequence: bytes.readUInt32BE(4),
    isSyn: (flags & FLAG.SYN) !== 0,
    isLast: (flags & (FLAG.FIN | FLAG.RST)) !== 0,
    payload: bytes.subarray(header),
  };
}
