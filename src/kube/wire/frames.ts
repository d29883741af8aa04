/**
 * Cuts a watch in protobuf form into its events: each has its length before it, four bytes, the highest first
 * (apimachinery, pkg/util/framer).
 */
import { WireError } from "./wire.ts";

const HEAD_BYTES = 4;
/** Longest event; etcd holds objects of at most 1.5 MiB. */
const MAX_FRAME_BYTES = 16 << 20;

/** Takes chunks and hands on whole events. */
export class FrameSplitter {
  readonly #onFrame: (frame: Buffer) => void;
  #rest: Buffer = Buffer.alloc(0);

  constructor(onFrame: (frame: Buffer) => void) {
    this.#onFrame = onFrame;
  }

  /**
   * Hands on every event that is complete with this chunk, valid during the call.
   * @throws WireError for a length that no event has: where the next one begins is not known then, nor ever will be
   */
  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk]);
    while (bytes.length >= HEAD_BYTES) {
      const end = HEAD_BYTES + bytes.readUInt32BE(0);
      if (end > MAX_FRAME_BYTES) throw new WireError(`an event of ${end} bytes`);
      if (bytes.length < end) break;
      this.#onFrame(bytes.subarray(HEAD_BYTES, end));
      bytes = bytes.subarray(end);
    }
    this.#rest = bytes;
  }
}
