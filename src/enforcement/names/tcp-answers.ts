/**
 * DNS messages in what servers send by TCP: each has its length before it (RFC 1035, section 4.2.2), and may be in several segments. A connection is followed from its first
 * segment on, as long as nothing of it is missing; an answer that cannot be put together so is not read, and its name allows nothing.
 */
import type { TcpSegment } from "../../dataplane/nfqueue/index.ts";

/** Connections that are followed, the youngest, and bytes of messages that have not come whole, of all of them. */
const MOST_CONNECTIONS = 1_024;
const MOST_BYTES = 4 << 20;
const LENGTH = 2;
const NUMBERS = 2 ** 32;

interface Connection {
  /** Number of the byte that comes next. */
  next: number;
  /** What has come of a message that is not whole. */
  kept: Buffer;
}

/** See the header. */
export class TcpAnswers {
  readonly #connections = new Map<string, Connection>();
  #bytes = 0;

  /** Takes a segment from a server. @returns messages that are whole with it */
  take({ source, sourcePort, destination, destinationPort, sequence, isSyn, isLast, payload }: TcpSegment): Buffer[] {
    const key = `${source} ${sourcePort} ${destination} ${destinationPort}`;
    if (isSyn) {
      this.#forget(key);
      this.#connections.set(key, { next: (sequence + 1) % NUMBERS, kept: Buffer.alloc(0) });
      this.#makeRoom();
      return [];
    }
    const connection = this.#connections.get(key);
    if (!connection) return [];
    const messages = payload.length > 0 ? this.#append(key, connection, sequence, payload) : [];
    if (isLast) this.#forget(key);
    return messages;
  }

  #append(key: string, connection: Connection, sequence: number, payload: Buffer): Buffer[] {
    // What was sent again may begin before what is next, and end behind it.
    const known = (connection.next - sequence + NUMBERS) % NUMBERS;
    if (known > NUMBERS / 2) {
      this.#forget(key);
      return [];
    }
    if (known >= payload.length) return [];
    const fresh = payload.subarray(known);
    connection.next = (connection.next + fresh.length) % NUMBERS;
    let bytes = Buffer.concat([connection.kept, fresh]);
    const messages: Buffer[] = [];
    for (;;) {
      const end = bytes.length < LENGTH ? Number.POSITIVE_INFINITY : LENGTH + bytes.readUInt16BE(0);
      if (end > bytes.length) break;
      messages.push(bytes.subarray(LENGTH, end));
      bytes = bytes.subarray(end);
    }
    this.#bytes += bytes.length - connection.kept.length;
    connection.kept = Buffer.from(bytes);
    this.#makeRoom();
    return messages;
  }

  #makeRoom(): void {
    for (const key of this.#connections.keys()) {
      if (this.#connections.size <= MOST_CONNECTIONS && this.#bytes <= MOST_BYTES) return;
      this.#forget(key);
    }
  }

  #forget(key: string): void {
    this.#bytes -= this.#connections.get(key)?.kept.length ?? 0;
    this.#connections.delete(key);
  }
}
