/**
 * Reading attributes with care: the kernel may be newer, older or (in a container's emulation) not Linux at all, so
 * sizes are checked before anything is read and attributes that nobody knows are passed over.
 */
import { readU16, readU32 } from "netlink/dist/structs.js";
import { bytesToIp, bytesToMac } from "../../addr/index.ts";
import { MalformedMessage } from "../errors.ts";

const MAC_LENGTH = 6;
const NLA_HEADER = 4;
/** linux/netlink.h: the upper two bits say that it is nested, or in network order. */
const NLA_TYPE_MASK = 0x3fff;

/**
 * Calls `visit` for each attribute from `offset` on, or for those of the `wanted` types alone: links have fifty, of which a
 * dozen are of use, and a view of each would be most of the work of reading one.
 * @throws MalformedMessage when a length points behind the end
 */
export function eachAttribute(
  data: Buffer,
  offset: number,
  visit: (type: number, value: Buffer) => void,
  wanted?: ReadonlySet<number>,
): void {
  const end = data.length;
  if (offset > end) throw new MalformedMessage(`a message of ${end} bytes needs ${offset} or more`);
  for (let at = offset; at < end; ) {
    if (end - at < NLA_HEADER) throw new MalformedMessage(`${end - at} bytes at the end are no attribute`);
    const length = readU16.call(data, at);
    if (length < NLA_HEADER || length > end - at)
      throw new MalformedMessage(`an attribute of ${length} bytes where ${end - at} are left`);
    const type = readU16.call(data, at + 2) & NLA_TYPE_MASK;
    if (!wanted || wanted.has(type)) visit(type, data.subarray(at + NLA_HEADER, at + length));
    at += (length + 3) & ~3;
  }
}

/** Refuses a value that is shorter than what is about to be read. @throws MalformedMessage */
export function need(value: Buffer, length: number): Buffer {
  if (value.length < length) throw new MalformedMessage(`an attribute of ${value.length} bytes needs ${length}`);
  return value;
}

export const u8 = (value: Buffer): number => need(value, 1)[0] as number;
export const u16be = (value: Buffer): number => need(value, 2).readUInt16BE(0);
export const u16At = (value: Buffer, offset: number): number => readU16.call(need(value, offset + 2), offset);
export const u32 = (value: Buffer): number => readU32.call(need(value, 4), 0);
export const u32At = (value: Buffer, offset: number): number => readU32.call(need(value, offset + 4), offset);

/** Text up to its terminating zero. */
export function text(value: Buffer): string {
  const end = value.indexOf(0);
  return value.toString("utf8", 0, end < 0 ? value.length : end);
}

/** An address of either family. @throws MalformedMessage for any other length */
export function ip(value: Buffer): string {
  if (value.length !== 4 && value.length !== 16) {
    throw new MalformedMessage(`an address has 4 or 16 bytes, not ${value.length}`);
  }
  return bytesToIp(value);
}

/** A MAC address, `undefined` for link layers whose addresses have another length (tunnels, InfiniBand). */
export const mac = (value: Buffer): string | undefined => (value.length === MAC_LENGTH ? bytesToMac(value) : undefined);
