/**
 * A Unix socket whose name stays: a server goes on listening when its name is removed, and nobody can reach it any more. So
 * the name is looked at, and a new server takes the place of one whose name is gone or somebody else's. Connections that
 * are open go on.
 */
import { chmodSync, lstatSync, rmSync } from "node:fs";
import { Server as HttpServer } from "node:http";
import type { Server } from "node:net";
import { dirname } from "node:path";
import { makeDirectory } from "../sys/index.ts";
import { listenPrivately, SOCKET_MODE } from "./private-socket.ts";

/** Listens on a path from {@link open} to {@link close}. */
export class KeptSocket {
  readonly path: string;
  readonly #make: () => Server;
  #server: Server | undefined;
  #inode = "";
  #closed = false;

  private constructor(path: string, make: () => Server) {
    this.path = path;
    this.#make = make;
  }

  /**
   * @param make a server with its handlers, which does not listen yet; again whenever the name has to be made anew.
   * @throws Error with `code` when it cannot listen
   */
  static async open(path: string, make: () => Server): Promise<KeptSocket> {
    const socket = new KeptSocket(path, make);
    await socket.#listen();
    return socket;
  }

  /** Makes the name lead here again, for its owner only. @returns whether it did not. @throws Error with `code` when it cannot listen */
  async keep(): Promise<boolean> {
    if (this.#closed) return false;
    const stat = lstatSync(this.path, { throwIfNoEntry: false, bigint: true });
    if (stat && `${stat.dev}:${stat.ino}` === this.#inode) {
      if (Number(stat.mode & 0o777n) === SOCKET_MODE) return false;
      chmodSync(this.path, SOCKET_MODE);
      return true;
    }
    await this.#listen();
    return true;
  }

  /** Takes the name away and takes no more connections; resolves when those that are open have ended, which HTTP's do at once. */
  async close(): Promise<void> {
    this.#closed = true;
    rmSync(this.path, { force: true });
    const server = this.#server;
    this.#server = undefined;
    if (!server) return;
    const closed = new Promise((resolve) => server.close(resolve));
    if (server instanceof HttpServer) server.closeAllConnections();
    await closed;
  }

  async #listen(): Promise<void> {
    makeDirectory(dirname(this.path));
    const server = this.#make();
    const { dev, ino } = await listenPrivately(server, this.path);
    this.#server?.close();
    this.#server = server;
    this.#inode = `${dev}:${ino}`;
    if (this.#closed) await this.close();
  }
}
