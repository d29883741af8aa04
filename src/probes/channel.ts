/**
 * Requests that are under way. An answer counts when it carries the nonce of a request that waits, and comes from the address that was asked:
 * a peer can answer for itself and for nobody else. Requests of other nodes are handed on with the address that they came from, which the
 * packet filter holds against what the API server knows (inside the tunnel), or the underlay vouches for (beside it).
 */
import { FAMILIES, type Family, familyOf } from "../addr/index.ts";
import { monotonicMs, ProbeSocket, SysError } from "../sys/index.ts";
import { decode, encode, MAGIC, type Message, nonceOf } from "./message.ts";

/** An answer that has not come by then does not come, in milliseconds. */
const TIMEOUT_MS = 1_000;
/** Packets that are read at once: what a flood has left in the way of the rest costs no more. */
const MOST = 64;

/** Told once of each request: how long the answer took in milliseconds, or that none came, and what this host's kernel says where it did not send. */
export type Done = (rttMs: number | undefined, error?: SysError) => void;

interface Waiting {
  to: string;
  sentAt: number;
  due: number;
  done: Done;
}

/** What is said in a request, but for its nonce. */
export type Said = Message extends infer M ? (M extends Message ? Omit<M, "nonce"> : never) : never;

/** Sends requests and takes their answers. */
export class Channel implements Disposable {
  readonly #sockets = new Map<Family, ProbeSocket>();
  readonly #onRequest: (from: string, message: Message) => void;
  readonly #waiting = new Map<bigint, Waiting>();
  readonly #nonces = new BigUint64Array(64);
  #nonce = this.#nonces.length;

  private constructor(onRequest: (from: string, message: Message) => void) {
    this.#onRequest = onRequest;
  }

  /** Opens what this kernel has. @throws SysError EPERM without CAP_NET_RAW */
  static open(onRequest: (from: string, message: Message) => void): Channel {
    const channel = new Channel(onRequest);
    for (const family of FAMILIES) {
      try {
        channel.#sockets.set(family, ProbeSocket.open(family, MAGIC));
      } catch (error) {
        if (!(error instanceof SysError) || error.code !== "EAFNOSUPPORT") {
          channel[Symbol.dispose]();
          throw error;
        }
      }
    }
    return channel;
  }

  /** Sends one. @param size bytes of the whole packet; the least that says it by default */
  send({ ip: to, sockaddr }: { ip: string; sockaddr: Buffer }, said: Said, done: Done, size = 0): void {
    const socket = this.#sockets.get(familyOf(to));
    if (!socket) {
      done(undefined);
      return;
    }
    const nonce = this.#random();
    const sentAt = ProbeSocket.now();
    const error = socket.send(sockaddr, encode({ ...said, nonce }), size);
    if (error) done(undefined, error);
    else this.#waiting.set(nonce, { to, sentAt, due: monotonicMs() + TIMEOUT_MS, done });
  }

  /** Takes what has arrived, and gives up what has waited for too long. */
  poll(): void {
    for (const socket of this.#sockets.values()) {
      socket.answers(MOST, ({ from, data, at }) => {
        const nonce = nonceOf(data);
        const waiting = nonce === undefined ? undefined : this.#waiting.get(nonce);
        if (!waiting || nonce === undefined || waiting.to !== from) return;
        this.#waiting.delete(nonce);
        // The clock that both times are of may have been set in between.
        waiting.done(Math.min(Math.max(at - waiting.sentAt, 0), TIMEOUT_MS));
      });
      socket.requests(MOST, ({ from, data }) => {
        const message = decode(data);
        if (message) this.#onRequest(from, message);
      });
    }
    const now = monotonicMs();
    for (const [nonce, { due, done }] of this.#waiting) {
      // All wait equally long, and the oldest is the first.
      if (due > now) break;
      this.#waiting.delete(nonce);
      done(undefined);
    }
  }

  [Symbol.dispose](): void {
    for (const socket of this.#sockets.values()) socket[Symbol.dispose]();
    this.#sockets.clear();
    this.#waiting.clear();
  }

  #random(): bigint {
    if (this.#nonce === this.#nonces.length) {
      crypto.getRandomValues(this.#nonces);
      this.#nonce = 0;
    }
    return this.#nonces[this.#nonce++] as bigint;
  }
}
