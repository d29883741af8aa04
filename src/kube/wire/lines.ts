/**
 * Cuts a byte stream into lines of bounded length. A watch is one JSON object a line; a line without end, from a broken
 * server or something that is no API server at all, must cost neither the memory nor the lines after it.
 */

/** Longest line kept: etcd holds objects of at most 1.5 MiB, which JSON escapes can make several times longer. */
const MAX_LINE_BYTES = 16 << 20;

/** Takes chunks and hands on whole lines. */
export class LineSplitter {
  private readonly onLine: (line: Buffer) => void;
  private readonly onTooLong: () => void;
  private readonly maxBytes: number;
  private parts: Buffer[] = [];
  private length = 0;
  private skipping = false;

  constructor(onLine: (line: Buffer) => void, onTooLong: () => void, maxBytes = MAX_LINE_BYTES) {
    this.onLine = onLine;
    this.onTooLong = onTooLong;
    this.maxBytes = maxBytes;
  }

  /** Hands on every line that is complete with this chunk, valid during the call; empty lines are left out. */
  push(chunk: Buffer): void {
    let start = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, start)) {
      this.keep(chunk.subarray(start, end));
      start = end + 1;
      if (this.skipping) this.skipping = false;
      else if (this.length > 0)
        this.onLine(this.parts.length === 1 ? (this.parts[0] as Buffer) : Buffer.concat(this.parts));
      this.parts = [];
      this.length = 0;
    }
    if (start < chunk.length) this.keep(chunk.subarray(start));
  }

  private keep(part: Buffer): void {
    if (this.skipping || part.length === 0) return;
    this.length += part.length;
    if (this.length <= this.maxBytes) this.parts.push(part);
    else {
      this.skipping = true;
      this.parts = [];
      this.length = 0;
      this.onTooLong();
    }
  }
}
