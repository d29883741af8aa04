/**
 * The listening socket: HTTP/1.1 with keep-alive, with TLS or without, that can go away and come back on the same
 * port as a restarted server would.
 */
import { createServer as createHttpServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import type { Certificates } from "./tls.ts";

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

/** A server on one address. */
export class Listener {
  readonly #server: Server;
  readonly #host: string;
  readonly #sockets = new Set<Socket>();
  #port: number;

  constructor(host: string, port: number, tls: Certificates | undefined, handler: Handler) {
    this.#host = host;
    this.#port = port;
    // Clients keep connections for as long as they like; a timeout here would race with their next request.
    const options = { keepAliveTimeout: 10 * 60_000, requestTimeout: 0 };
    this.#server =
      tls === undefined
        ? createHttpServer(options, handler)
        : createHttpsServer({ ...options, cert: tls.certPem, key: tls.keyPem }, handler);
    this.#server.on("connection", (socket: Socket) => {
      this.#sockets.add(socket);
      socket.once("close", () => this.#sockets.delete(socket));
    });
  }

  /** The port, once listening. */
  get port(): number {
    return this.#port;
  }

  /** Whether connections are taken. */
  get listening(): boolean {
    return this.#server.listening;
  }

  /** Starts, or comes back. Rejects when the address cannot be had. */
  async open(): Promise<void> {
    if (this.#server.listening) return;
    await new Promise<void>((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#port, this.#host, () => {
        this.#server.off("error", reject);
        resolve();
      });
    });
    this.#port = (this.#server.address() as AddressInfo).port;
  }

  /** Stops listening and breaks every connection. */
  async close(): Promise<void> {
    if (!this.#server.listening) return;
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()));
    // Not closeAllConnections(): it knows nothing of one that is still in its TLS handshake.
    for (const socket of this.#sockets) socket.destroy();
    await closed;
  }
}
