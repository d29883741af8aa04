/**
 * DNS messages in what servers send by TCP: each has its length before it (RFC 1035, section 4.2.2), and may be in several segments. A connection is followed from its first
 * segment on, as long as nothing of it is missing; an answer that cannot be put together so is not read, and its name allows nothing.
 *
 * What is followed of all pods together has a bound. Where it is reached, the pod that has most gives up its oldest: one that opens connections by the
 * thousand, or asks for answers that never end, does that to itself alone.
 */
import type { TcpSegment } from "../../dataplane/nfqueue/index.ts";

/** Connections that are followed, and bytes of messages that have not come whole, of all pods. */
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

/** What is followed of one address of a pod. */
interface Pod {
  /** The oldest first. */
  connections: Map<string, Connection>;
  bytes: number;
}

/** See the header. */
export class TcpAnswers {
  readonly #pods = new Map<string, Pod>();
  #count = 0;
  #bytes = 0;

  /** Takes a segment from a server. @returns messages that are whole with it */
  take({ source, sourcePort, destination, destinationPort, sequence, isSyn, isLast, payload }: TcpSegment): Buffer[] {
    const key = `${source} ${sourcePort} ${destinationPort}`;
    if (isSyn) {
      this.#forget(destination, key);
      this.#begin(destination, key, { next: (sequence + 1) % NUMBERS, kept: Buffer.alloc(0) });
      return [];
    }
    const connection = this.#pods.get(destination)?.connections.get(key);
    if (!connection) return [];
    const messages = payload.length > 0 ? this.#append(destination, key, connection, sequence, payload) : [];
    if (isLast) this.#forget(destination, key);
    return messages;
  }

  #begin(ip: string, key: string, connection: Connection): void {
    const pod = this.#pods.get(ip) ?? { connections: new Map<string, Connection>(), bytes: 0 };
    this.#pods.set(ip, pod);
    pod.connections.set(key, connection);
    this.#count++;
    if (this.#count > MOST_CONNECTIONS) this.#forgetOldest(({ connections }) => connections.size);
  }

  #append(ip: string, key: string, connection: Connection, sequence: number, payload: Buffer): Buffer[] {
    // What was sent again may begin before what is next, and end behind it.
    const known = (connection.next - sequence + NUMBERS) % NUMBERS;
    if (known > NUMBERS / 2) {
      this.#forget(ip, key);
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
    this.#keep(ip, connection, Buffer.from(bytes));
    while (this.#bytes > MOST_BYTES) this.#forgetOldest((pod) => pod.bytes);
    return messages;
  }

  #keep(ip: string, connection: Connection, bytes: Buffer): void {
    const more = bytes.length - connection.kept.length;
    connection.kept = bytes;
    (this.#pods.get(ip) as Pod).bytes += more;
    this.#bytes += more;
  }

  /** Of the pod that has most of something. */
  #forgetOldest(amount: (pod: Pod) => number): void {
    let [most, of] = [0, ""];
    for (const [ip, pod] of this.#pods) if (amount(pod) > most) [most, of] = [amount(pod), ip];
    const [oldest] = this.#pods.get(of)?.connections.keys() ?? [];
    if (oldest !== undefined) this.#forget(of, oldest);
  }

  #forget(ip: string, key: string): void {
    const pod = this.#pods.get(ip);
    const connection = pod?.connections.get(key);
    if (!pod || !connection) return;
    this.#keep(ip, connection, Buffer.alloc(0));
    pod.connections.delete(key);
    if (pod.connections.size === 0) this.#pods.delete(ip);
    this.#count--;
  }
}
