/**
 * Messages of nfnetlink (linux/netfilter/nfnetlink.h), the part of netlink that the packet filter, connection tracking and logging of packets have in
 * common: a netlink header, four bytes that say which family and which resource it is about, and attributes. Who talks to which of them is in
 * dataplane/.
 */
import { MalformedMessage } from "../errors.ts";

/** linux/netlink.h */
export const NETLINK_NETFILTER = 12;

/** Upper byte of a message's type. */
export const NF_SUBSYSTEM = { CONNTRACK: 1, QUEUE: 3, LOG: 4, NFTABLES: 10 } as const;

/** Flags of requests; DUMP asks for a list. */
export const NF_FLAG = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  ECHO: 0x8,
  DUMP_INTR: 0x10,
  DUMP: 0x300,
  CREATE: 0x400,
} as const;

/** Types of messages that are common to all of netlink. */
export const NF_ANSWER = { ERROR: 2, DONE: 3 } as const;

/** Bytes of netlink's header, and of that with nfnetlink's own behind it. */
export const NETLINK_HEADER = 16;
export const NFNETLINK_HEADER = 20;

const NESTED = 0x8000;
const ATTRIBUTE_HEADER = 4;
/** linux/netlink.h: the upper two bits say that it is nested, or in network order. */
const ATTRIBUTE_TYPE = 0x3fff;

const padded = (bytes: Buffer): Buffer => Buffer.concat([bytes, Buffer.alloc(-bytes.length & 3)]);
const aligned = (length: number): number => (length + 3) & ~3;

/** An attribute with its padding. */
export function nfAttribute(type: number, value: Uint8Array): Buffer {
  const header = Buffer.alloc(ATTRIBUTE_HEADER);
  header.writeUInt16LE(ATTRIBUTE_HEADER + value.length, 0);
  header.writeUInt16LE(type, 2);
  return padded(Buffer.concat([header, value]));
}

const FAMILY_NAMES: Readonly<Record<number, string>> = {
  1: "inet",
  2: "ip",
  3: "arp",
  5: "netdev",
  7: "bridge",
  10: "ip6",
};

/** A family of tables (linux/netfilter.h, NFPROTO_*) as nft calls it. */
export const nfFamilyName = (family: number): string => FAMILY_NAMES[family] ?? "unknown";

/** An attribute of attributes. */
export const nfNested = (type: number, parts: readonly Buffer[]): Buffer =>
  nfAttribute(type | NESTED, Buffer.concat(parts));

/** A text as nfnetlink has it, with its terminating zero. */
export const nfText = (value: string): Buffer => Buffer.from(`${value}\0`);

/** A number as nfnetlink has it, in 32 bits. */
export function nfNumber(value: number): Buffer {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

/** One message. @param about what nfnetlink is told besides: the family, and whose a batch is or which group of logging it is about */
export function nfMessage(
  type: number,
  flags: number,
  seq: number,
  about: { family: number; resource: number },
  body: Buffer,
): Buffer {
  const header = Buffer.alloc(NFNETLINK_HEADER);
  header.writeUInt32LE(header.length + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(seq, 8);
  header[NETLINK_HEADER] = about.family;
  header.writeUInt16BE(about.resource, NETLINK_HEADER + 2);
  return Buffer.concat([header, body]);
}

/** Where a message is in a datagram: `from` is behind netlink's header. */
export interface NfMessage {
  type: number;
  flags: number;
  seq: number;
  from: number;
  to: number;
}

/** The messages of a datagram, one after the other. @throws MalformedMessage when a length points behind the end */
export function* nfMessages(datagram: Buffer): Generator<NfMessage> {
  for (let at = 0; at < datagram.length; ) {
    const left = datagram.length - at;
    if (left < NETLINK_HEADER) throw new MalformedMessage(`${left} bytes at the end are no netlink message`);
    const length = datagram.readUInt32LE(at);
    if (length < NETLINK_HEADER || length > left)
      throw new MalformedMessage(`a netlink message of ${length} bytes where ${left} are left`);
    yield {
      type: datagram.readUInt16LE(at + 4),
      flags: datagram.readUInt16LE(at + 6),
      seq: datagram.readUInt32LE(at + 8),
      from: at + NETLINK_HEADER,
      to: at + length,
    };
    at += aligned(length);
  }
}

/** The error of an NLMSG_ERROR or NLMSG_DONE as a positive number; 0: none. @throws MalformedMessage */
export function nfErrno(datagram: Buffer, { type, from, to }: NfMessage): number {
  if (to - from < 4) {
    if (type === NF_ANSWER.DONE) return 0;
    throw new MalformedMessage(`an answer of ${to - from} bytes has no error number`);
  }
  return Math.abs(Math.min(0, datagram.readInt32LE(from)));
}

/**
 * Calls `visit` for each attribute between two places of a datagram: where its value begins and ends. Nothing is made for an attribute:
 * a list of connections has millions.
 * @throws MalformedMessage when a length points behind the end
 */
export function eachNfAttribute(
  data: Buffer,
  from: number,
  to: number,
  visit: (type: number, from: number, to: number) => void,
): void {
  for (let at = from; at < to; ) {
    const length = to - at < ATTRIBUTE_HEADER ? 0 : data.readUInt16LE(at);
    if (length < ATTRIBUTE_HEADER || length > to - at)
      throw new MalformedMessage(`an attribute of ${length} bytes where ${to - at} are left`);
    visit(data.readUInt16LE(at + 2) & ATTRIBUTE_TYPE, at + ATTRIBUTE_HEADER, at + length);
    at += aligned(length);
  }
}
