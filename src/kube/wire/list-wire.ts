/**
 * A list in protobuf form, object by object while it comes in: of 12 MB for 5,000 Nodes no more than one object's bytes
 * are held, and the time that the server takes for the rest is used.
 */
import type { Readable } from "node:stream";
import { MAGIC, readListMeta, readMetadata } from "./metadata-wire.ts";
import { spanAt, WireError, WireReader } from "./wire.ts";

/** Longest object kept; etcd holds objects of at most 1.5 MiB. */
const MAX_OBJECT_BYTES = 16 << 20;

/** Reads one object of a list. @throws WireError */
export type ReadItem = (message: WireReader) => unknown;

/** Reads chunks of one list. */
class ListReader {
  meta: { resourceVersion: string; continue: string } | undefined;
  readonly #onItem: (item: unknown) => void;
  readonly #read: ReadItem;
  /** What has come of an object that has not come whole, and room for the next chunk: one for the whole list, as memory outside of V8's heap costs collections of it. */
  #kept: Buffer = Buffer.alloc(0);
  #length = 0;
  #begun = false;
  /** Bytes of the list's own message that are still to come; undefined outside of it. */
  #left: number | undefined;
  #seen = false;

  constructor(onItem: (item: unknown) => void, read: ReadItem) {
    this.#onItem = onItem;
    this.#read = read;
  }

  /** Whether nothing is missing. */
  get complete(): boolean {
    return this.#seen && this.#left === undefined && this.#length === 0;
  }

  /** @throws WireError */
  push(chunk: Buffer): void {
    const bytes = this.#length === 0 ? chunk : this.#with(chunk);
    let at = 0;
    for (let next = this.#step(bytes, at); next > at; next = this.#step(bytes, at)) at = next;
    this.#length = 0;
    if (at < bytes.length) this.#with(bytes.subarray(at));
  }

  /** What was kept, and this behind it; kept as well. */
  #with(chunk: Buffer): Buffer {
    const length = this.#length + chunk.length;
    if (length > this.#kept.length) {
      const larger = Buffer.allocUnsafeSlow(2 * length);
      this.#kept.copy(larger, 0, 0, this.#length);
      this.#kept = larger;
    }
    // It may be a part of what is kept already: copying is by memmove.
    chunk.copy(this.#kept, this.#length);
    this.#length = length;
    return this.#kept.subarray(0, length);
  }

  /** Reads one thing. @returns where the next begins; `at` when this one has not come whole */
  #step(bytes: Buffer, at: number): number {
    if (!this.#begun) {
      if (bytes.length < MAGIC.length) return at;
      if (!bytes.subarray(0, MAGIC.length).equals(MAGIC)) throw new WireError("a list without the API's magic number");
      this.#begun = true;
      return MAGIC.length;
    }
    if (at >= bytes.length) return at;
    const span = spanAt(bytes, at);
    if (span === undefined) return at;
    if (this.#left === undefined && span.field === 2) {
      // runtime.Unknown's raw: the list itself.
      this.#seen = true;
      this.#left = span.end - span.start;
      return span.start;
    }
    if (this.#left !== undefined && span.end - at > this.#left)
      throw new WireError("an object is longer than its list");
    if (span.end - span.start > MAX_OBJECT_BYTES) throw new WireError("an object without end");
    if (span.end > bytes.length) return at;
    if (this.#left !== undefined) {
      this.#take(bytes, span.field, span.start, span.end);
      this.#left -= span.end - at;
      if (this.#left === 0) this.#left = undefined;
    }
    return span.end;
  }

  #take(bytes: Buffer, field: number, start: number, end: number): void {
    const message = new WireReader(bytes, start, end);
    if (field === 1) this.meta = readListMeta(message);
    else if (field === 2) this.#onItem(understood(message, this.#read));
  }
}

/** One object that makes no sense must not cost the others: it is handed on as nothing. */
function understood(message: WireReader, read: ReadItem): unknown {
  try {
    return read(message);
  } catch (error) {
    if (error instanceof WireError) return undefined;
    throw error;
  }
}

/**
 * Reads a list to its end. @param read what its objects are; their metadata alone by default
 * @returns its resourceVersion and the token of the next page, "" when there is none
 * @throws WireError when it is no list or ends too early, and whatever the stream fails with
 */
export async function readWireList(
  body: Readable,
  onItem: (item: unknown) => void,
  read: ReadItem = readMetadata,
): Promise<{ resourceVersion: string; continue: string }> {
  const reader = new ListReader(onItem, read);
  for await (const chunk of body as AsyncIterable<Buffer>) reader.push(chunk);
  if (!reader.complete || reader.meta === undefined) throw new WireError("the list ends too early");
  return reader.meta;
}
