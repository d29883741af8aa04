/**
 * Connections to the CNI socket that have not brought their request yet. A launcher sends it at once, so whoever holds a
 * connection open and says nothing is none, and is cut off by the next ones that come.
 */
import type { Socket } from "node:net";

/** So many may be about to send at once; the oldest one makes room for the next. */
const MAX_SILENT = 64;
/** How long a request may take to come, in milliseconds, however it comes. */
const PATIENCE_MS = 5_000;

/** Keeps account of them. */
export class Callers {
  readonly #silent = new Map<Socket, NodeJS.Timeout>();

  /** One has connected. */
  came(socket: Socket): void {
    const [oldest] = this.#silent.keys();
    if (oldest && this.#silent.size >= MAX_SILENT) this.#cut(oldest);
    this.#silent.set(
      socket,
      setTimeout(() => this.#cut(socket), PATIENCE_MS),
    );
    socket.once("close", () => this.asked(socket));
  }

  /** Its request is there. */
  asked(socket: Socket): void {
    clearTimeout(this.#silent.get(socket));
    this.#silent.delete(socket);
  }

  #cut(socket: Socket): void {
    this.asked(socket);
    socket.destroy();
  }
}
