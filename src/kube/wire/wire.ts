/**
 * Protocol Buffers as they are on the wire (protobuf.dev/programming-guides/encoding), as much of it as the API server's
 * answers use: numbers, and fields with a length. What nobody asks for is passed over by its length, unread, and that is
 * what this form is chosen for. Messages of the API are in src/kube/wire/metadata-wire.ts.
 */

const VARINT = 0;
const FIXED64 = 1;
const DELIMITED = 2;
const FIXED32 = 5;

/** Bytes that are no message, or not one that was written whole. */
export class WireError extends Error {
  constructor(message: string) {
    super(`protobuf: ${message}`);
    this.name = "WireError";
  }
}

/** Goes over the fields of one message: `next()`, and then the field's value or nothing. */
export class WireReader {
  /** Number of the field that `next` found. */
  field = 0;
  readonly #bytes: Buffer;
  readonly #end: number;
  #at: number;
  /** Where the field's value begins and ends. */
  #start = 0;
  #stop = 0;
  /** The field's number, where it is one. */
  #number: number | undefined;

  constructor(bytes: Buffer, start = 0, end = bytes.length) {
    this.#bytes = bytes;
    this.#at = start;
    this.#end = end;
  }

  /** Goes to the next field; false at the end of the message. @throws WireError */
  next(): boolean {
    if (this.#at >= this.#end) return false;
    const tag = this.#varint();
    this.field = Math.floor(tag / 8);
    this.#number = undefined;
    switch (tag & 7) {
      case VARINT:
        this.#number = this.#varint();
        break;
      case DELIMITED: {
        const length = this.#varint();
        this.#start = this.#at;
        this.#at += length;
        break;
      }
      case FIXED64:
        this.#at += 8;
        break;
      case FIXED32:
        this.#at += 4;
        break;
      default:
        throw new WireError(`field ${this.field} has wire type ${tag & 7}, which is none`);
    }
    if (this.#at > this.#end) throw new WireError(`field ${this.field} is longer than its message`);
    this.#stop = this.#at;
    if ((tag & 7) !== DELIMITED) this.#start = this.#stop;
    return true;
  }

  /** The field as text. */
  text(): string {
    return this.#bytes.toString("utf8", this.#start, this.#stop);
  }

  /** The field as a message of its own. */
  message(): WireReader {
    return new WireReader(this.#bytes, this.#start, this.#stop);
  }

  /** The field as bytes; they are those of the message, and valid as long as those are. */
  bytes(): Buffer {
    return this.#bytes.subarray(this.#start, this.#stop);
  }

  /** The field as a number that is not negative. @throws WireError when it is none */
  number(): number {
    if (this.#number === undefined) throw new WireError(`field ${this.field} is no number`);
    return this.#number;
  }

  #varint(): number {
    let value = 0;
    let scale = 1;
    for (let length = 0; length < 10; length++) {
      if (this.#at >= this.#end) throw new WireError("a number without end");
      const byte = this.#bytes[this.#at++] as number;
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
    throw new WireError("a number of more than ten bytes");
  }
}

/** A message of two texts, the fields 1 and 2, as the entry of a map is. @throws WireError */
export function textPair(message: WireReader): [string, string] {
  const texts: [string, string] = ["", ""];
  while (message.next()) if (message.field === 1 || message.field === 2) texts[message.field - 1] = message.text();
  return texts;
}

/** Where a field with a length lies in what has come so far. */
export interface Span {
  field: number;
  start: number;
  end: number;
}

/**
 * The head of the field at `at`: its number, and where its value is, which need not have come whole; undefined when not even
 * the head has. @throws WireError for a field without a length
 */
export function spanAt(bytes: Buffer, at: number): Span | undefined {
  const tag = varintAt(bytes, at);
  if (tag === undefined) return undefined;
  if ((tag.value & 7) !== DELIMITED) throw new WireError(`field ${Math.floor(tag.value / 8)} has no length`);
  const length = varintAt(bytes, tag.end);
  if (length === undefined) return undefined;
  return { field: Math.floor(tag.value / 8), start: length.end, end: length.end + length.value };
}

function varintAt(bytes: Buffer, at: number): { value: number; end: number } | undefined {
  let value = 0;
  let scale = 1;
  for (let end = at; end < bytes.length; scale *= 128) {
    const byte = bytes[end++] as number;
    value += (byte & 0x7f) * scale;
    if (byte < 0x80) return { value, end };
    if (end - at >= 10) throw new WireError("a number of more than ten bytes");
  }
  return undefined;
}
