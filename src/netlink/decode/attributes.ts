/**
 * Reading attributes with care: the kernel may be newer, older or (in a container's emulation) not Linux at all, so
 * sizes are checked before anything is read and attributes that nobody knows are passed over.
 */
import { parseAttributes, readU16, readU32 } from "netlink/dist/structs.js";
import { bytesToIp, bytesToMac } from "../../addr/index.ts";
import { MalformedMessage } from "../errors.ts";

const MAC_LENGTH = 6;

/**
 * Calls `visit` for each attribute from `offset` on.
 * @throws MalformedMessage when a length points behind the end
 */
export function eachAttribute(data: Buffer, offset: number, visit: (type: number, value: Buffer) => void): void {
  if (offset > data.length) throw new MalformedMessage(`a message of ${data.length} bytes needs ${offset} or more`);
  parseAttributes(data.subarray(offset), (attribute) => visit(attribute.type, attribute.data));
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
