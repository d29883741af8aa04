/**
 * Who may have how many connections to a server. A connection that asks nothing makes room for a new one, oldest first: first
 * among those of the same source, then among those of the source that has most. So nobody keeps others out by holding
 * connections, and each has room for a request whatever others do.
 */
import type { Server, Socket } from "node:net";
import { bigIntToIp, ipToBigInt, parseIp } from "../addr/index.ts";

/** Connections of all sources, and of one. */
const TOTAL = 64;
const PER_SOURCE = 16;

/** A connection as it is counted. */
interface Held {
  source: string;
  socket: Pick<Socket, "destroy">;
}

/** A peer's address in its one spelling, IPv4 where a dual-stack socket shows it as IPv6; "" on a Unix socket. */
export function addressOf(remote: string | undefined): string {
  if (remote === undefined) return "";
  const text = remote.replace(/%.*$/, "");
  return parseIp(/^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1] ?? text);
}

/** What is counted as one source: an IPv4 address, and 64 bits of an IPv6 one, as whoever has one of those has all. */
const sourceOf = (address: string): string =>
  address.includes(":") ? bigIntToIp((ipToBigInt(address) >> 64n) << 64n, 6) : address;

/** Keeps account of a server's connections. */
export class ConnectionLimits {
  /** In the order in which they came. */
  readonly #held = new Set<Held>();
  /** Those with a request that is being answered. */
  readonly #busy = new WeakMap<object, number>();

  /** Counts the connections of a server from now on. @param admits whether an address may connect at all */
  watch(server: Server, admits: (address: string) => boolean): void {
    server.on("connection", (socket: Socket) => {
      const address = addressOf(socket.remoteAddress);
      const source = sourceOf(address);
      if (!admits(address) || !this.#makeRoom(source)) {
        socket.destroy();
        return;
      }
      const held = { source, socket };
      this.#held.add(held);
      socket.once("close", () => this.#held.delete(held));
    });
  }

  /** A request of a connection is being answered. @returns what to call when it has been */
  asked(socket: object): () => void {
    this.#busy.set(socket, (this.#busy.get(socket) ?? 0) + 1);
    return () => this.#busy.set(socket, (this.#busy.get(socket) ?? 1) - 1);
  }

  /** @returns whether one more of that source may be held */
  #makeRoom(source: string): boolean {
    const counts = new Map<string, number>();
    for (const { source } of this.#held) counts.set(source, (counts.get(source) ?? 0) + 1);
    if ((counts.get(source) ?? 0) >= PER_SOURCE) return this.#drop(source);
    if (this.#held.size < TOTAL) return true;
    const most = [...counts].toSorted(([, a], [, b]) => b - a).map(([one]) => one);
    return most.some((one) => this.#drop(one));
  }

  /** Closes the oldest connection of a source that asks nothing. @returns whether there was one */
  #drop(source: string): boolean {
    for (const held of this.#held) {
      if (held.source !== source || (this.#busy.get(held.socket) ?? 0) > 0) continue;
      this.#held.delete(held);
      held.socket.destroy();
      return true;
    }
    return false;
  }
}
