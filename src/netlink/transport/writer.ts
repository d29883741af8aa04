/**
 * Netlink messages written one behind the other into one growing buffer: header, fixed structure, attributes, each
 * padded to four bytes, lengths filled in afterwards. Encoding dominates the cost of programming many peers, so
 * nothing is allocated for a message.
 */
import { HEADER_LENGTH, readU16, writeU16, writeU32 } from "netlink/dist/structs.js";

const NLA_F_NESTED = 0x8000;
const NLA_HEADER = 4;
const NLA_MAXIMUM = 0xffff;

/** A growing sequence of netlink messages. */
export class MessageWriter {
  #buffer: Buffer;
  #length = 0;
  #message = 0;

  constructor(capacity = 4096) {
    this.#buffer = Buffer.alloc(capacity);
  }

  /** The buffer in which the messages are; valid until something is written. */
  get buffer(): Buffer {
    return this.#buffer;
  }

  /** Bytes written so far, a multiple of four between messages. */
  get length(): number {
    return this.#length;
  }

  /** Forgets everything that was written. */
  reset(): void {
    this.#length = 0;
  }

  /** Writes one whole message; `body` writes its structure and attributes. What a throw leaves half written is taken back. */
  message(type: number, flags: number, seq: number, body: () => void): void {
    const start = this.#length;
    this.#reserve(HEADER_LENGTH);
    this.#length += HEADER_LENGTH;
    try {
      body();
    } catch (error) {
      this.#length = start;
      throw error;
    }
    this.#message = start;
    const b = this.#buffer;
    writeU32.call(b, this.#length - start, start);
    writeU16.call(b, type, start + 4);
    writeU16.call(b, flags, start + 6);
    writeU32.call(b, seq, start + 8);
    writeU32.call(b, 0, start + 12);
  }

  /** Sets flags of the message written last: only the last of a batch asks for an acknowledgement. */
  addFlags(flags: number): void {
    const at = this.#message + 6;
    writeU16.call(this.#buffer, readU16.call(this.#buffer, at) | flags, at);
  }

  u8(value: number): void {
    this.#reserve(1);
    this.#buffer[this.#length++] = value;
  }

  u16(value: number): void {
    this.#reserve(2);
    this.#length = writeU16.call(this.#buffer, value, this.#length);
  }

  u32(value: number): void {
    this.#reserve(4);
    this.#length = writeU32.call(this.#buffer, value >>> 0, this.#length);
  }

  attribute(type: number, data: Uint8Array): void {
    this.#header(type, data.length);
    this.#buffer.set(data, this.#length);
    this.#length += data.length;
    this.#pad();
  }

  attributeU8(type: number, value: number): void {
    this.#header(type, 1);
    this.#buffer[this.#length++] = value;
    this.#pad();
  }

  attributeU32(type: number, value: number): void {
    this.#header(type, 4);
    this.#length = writeU32.call(this.#buffer, value >>> 0, this.#length);
  }

  /** A 16-bit number in network order (ports). */
  attributeU16be(type: number, value: number): void {
    this.#header(type, 2);
    this.#length = this.#buffer.writeUInt16BE(value, this.#length);
    this.#pad();
  }

  /** Text with its terminating zero. @throws RangeError when it holds a zero itself, which would cut it silently */
  attributeString(type: number, text: string): void {
    if (text.includes("\0")) throw new RangeError(`${JSON.stringify(text)} contains a zero byte`);
    const size = Buffer.byteLength(text);
    this.#header(type, size + 1);
    this.#length += this.#buffer.write(text, this.#length);
    this.#buffer[this.#length++] = 0;
    this.#pad();
  }

  /** An attribute whose content is what `body` writes. `flagged`: marked as nested, as newer families demand. */
  nest(type: number, body: () => void, flagged = false): void {
    const start = this.#length;
    this.#header(flagged ? type | NLA_F_NESTED : type, 0);
    body();
    const size = this.#length - start;
    if (size > NLA_MAXIMUM)
      throw new RangeError(`netlink attribute ${type} has ${size} bytes, more than ${NLA_MAXIMUM}`);
    writeU16.call(this.#buffer, size, start);
  }

  #header(type: number, size: number): void {
    if (size + NLA_HEADER > NLA_MAXIMUM) {
      throw new RangeError(`netlink attribute ${type} has ${size} bytes, more than ${NLA_MAXIMUM - NLA_HEADER}`);
    }
    // With room for the padding.
    this.#reserve(size + NLA_HEADER + 3);
    writeU16.call(this.#buffer, size + NLA_HEADER, this.#length);
    writeU16.call(this.#buffer, type, this.#length + 2);
    this.#length += NLA_HEADER;
  }

  #pad(): void {
    while (this.#length & 3) this.#buffer[this.#length++] = 0;
  }

  #reserve(bytes: number): void {
    if (this.#length + bytes <= this.#buffer.length) return;
    const larger = Buffer.alloc(Math.max(this.#buffer.length * 2, this.#length + bytes));
    this.#buffer.copy(larger, 0, 0, this.#length);
    this.#buffer = larger;
  }
}
