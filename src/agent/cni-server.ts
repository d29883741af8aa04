/**
 * Serves CNI requests that the launcher hands over, with the plugin's own verbs. A request is accepted only when this
 * process sees the machine as the plugin would: the same directories, the same network namespace, no IPAM plugin to start. The
 * sandbox comes open from the launcher. Everything else is declined, and the launcher starts the plugin itself.
 *
 * "Accepted" is sent within the call in which the work begins. A launcher that has given up by then cannot be told any
 * more, and its request is dropped: it is never served here and by the plugin at once. One request begins in a turn of the
 * event loop, so that however many come, watches and probes have their turns between them; requests about the same
 * attachment wait for each other.
 */
import { createServer, type Server, type Socket } from "node:net";
import { type CniAnswer, type CniCall, type Host, isAnswer, readCall, serveCall } from "../cni/index.ts";
import type { Logger } from "../log/index.ts";
import {
  closeFd,
  isNetns,
  lendNetns,
  monotonicMs,
  netnsIdentity,
  type NetnsIdentity,
  peerCredentials,
  receiveDescriptor,
  sameNetns,
  sendNow,
} from "../sys/index.ts";
import { ACCEPTED, DECLINED, DELIVERED, encodeAnswer, type LauncherRequest, RequestReader } from "./cni-wire.ts";
import { KeptSocket } from "./disk/kept-socket.ts";
import { LauncherNames, type NameKeeper } from "./launcher-names.ts";

/** Name of the socket in the run directory; the launcher looks for it there. */
export const CNI_SOCKET = "cni.sock";
/** More launchers at once than this are turned away, and start the plugin. */
const MAX_CONNECTIONS = 256;
/** How long a launcher may take to send a request, or leave an answer unread, in milliseconds. */
const IDLE_MS = 10_000;

export interface CniServerOptions {
  runDir: string;
  dataDir: string;
  /** The machine, for one request: whoever made it can give names to network namespaces. */
  host: (names: NameKeeper) => Host;
  log: Logger;
  /** Whether a request that could be served here is left to the plugin all the same; never by default. */
  leave?: (call: CniCall) => boolean;
}

interface Waiting {
  socket: Socket;
  /** The open sandbox, if there is one. */
  sandbox: number | undefined;
  request: LauncherRequest;
  startedAt: number;
}

/** A listening server. */
export class CniServer {
  readonly #options: CniServerOptions;
  #socket: KeptSocket | undefined;
  readonly #own: NetnsIdentity;
  readonly #waiting: Waiting[] = [];
  /** The last request of each attachment that is under way. */
  readonly #underWay = new Map<string, Promise<void>>();
  #turn: NodeJS.Immediate | undefined;

  private constructor(options: CniServerOptions) {
    this.#options = options;
    this.#own = netnsIdentity("/proc/thread-self/ns/net");
  }

  /** Listens on a socket that only its owner may use. @throws Error with `code` when it cannot listen */
  static async listen(options: CniServerOptions): Promise<CniServer> {
    const server = new CniServer(options);
    server.#socket = await KeptSocket.open(`${options.runDir}/${CNI_SOCKET}`, () => server.#make());
    return server;
  }

  /** Makes the socket's name lead here again. @returns whether it did not. @throws Error with `code` when it cannot listen */
  async keep(): Promise<boolean> {
    return (await this.#socket?.keep()) ?? false;
  }

  /** Takes no more requests, drops those that have not begun (their launchers serve them) and waits for the others. */
  async close(): Promise<void> {
    void this.#socket?.close();
    clearImmediate(this.#turn);
    for (const { socket } of this.#waiting.splice(0)) socket.destroy();
    await Promise.all(this.#underWay.values());
  }

  #make(): Server {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true }, (socket) => this.#connected(socket));
    server.maxConnections = MAX_CONNECTIONS;
    server.on("listening", () =>
      server.on("error", (error) => this.#options.log.warn("a CNI request could not be taken", { error })),
    );
    return server;
  }

  #connected(socket: Socket): void {
    const startedAt = monotonicMs();
    // A launcher that goes away is noticed where it matters: when it is told something, and when it should answer.
    socket.on("error", () => undefined);
    socket.setTimeout(IDLE_MS, () => socket.destroy());
    if (this.#isRoot(socket)) this.#receive(socket, startedAt);
    else socket.destroy();
  }

  /**
   * The sandbox first, which only recvmsg(2) can receive. A launcher sends it with its first system call after connect(2), so
   * it is nearly always there; Node has nothing that could wait for it.
   */
  #receive(socket: Socket, startedAt: number): void {
    const handed = receiveDescriptor(socket);
    if (handed === "nothing yet" && monotonicMs() - startedAt < IDLE_MS) {
      setTimeout(() => this.#receive(socket, startedAt), 1);
      return;
    }
    if (typeof handed !== "object") {
      socket.destroy();
      return;
    }
    const { fd: sandbox } = handed;
    if (sandbox !== undefined) socket.once("close", () => closeFd(sandbox));
    this.#read(socket, sandbox, startedAt);
  }

  /** Then the request, as it comes. */
  #read(socket: Socket, sandbox: number | undefined, startedAt: number): void {
    const reader = new RequestReader();
    socket.once("end", () => socket.destroy());
    const take = (chunk: Buffer): void => {
      try {
        const request = reader.push(chunk);
        if (!request) return;
        socket.off("data", take).removeAllListeners("end").pause();
        this.#waiting.push({ socket, sandbox, request, startedAt });
        this.#schedule();
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.#options.log.warn("refused something that is no CNI request", { error });
        socket.destroy();
      }
    };
    socket.on("data", take).resume();
  }

  /** The socket's permissions say the same; this holds even where somebody changed them. */
  #isRoot(socket: Socket): boolean {
    const peer = peerCredentials(socket);
    if (!peer || peer.uid === 0 || peer.uid === process.geteuid?.()) return peer !== undefined;
    this.#options.log.warn("refused a CNI request from a user other than root", { uid: peer.uid, pid: peer.pid });
    return false;
  }

  #schedule(): void {
    this.#turn ??= setImmediate(() => {
      this.#turn = undefined;
      const next = this.#waiting.shift();
      if (!next) return;
      this.#schedule();
      void this.#begin(next);
    });
  }

  /** Serves a request once those about the same attachment that came before it are over. */
  async #begin(next: Waiting): Promise<void> {
    const { CNI_CONTAINERID: container = "", CNI_IFNAME: ifname = "" } = next.request.env;
    const key = `${container}/${ifname}`;
    const before = this.#underWay.get(key);
    const mine = (before ?? Promise.resolve()).then(() => this.#serve(next));
    this.#underWay.set(key, mine);
    await mine;
    if (this.#underWay.get(key) === mine) this.#underWay.delete(key);
  }

  async #serve({ socket, sandbox, request, startedAt }: Waiting): Promise<void> {
    const { log, host } = this.#options;
    try {
      const { env, configuration: stdin } = request;
      const read = readCall({ env, stdin, startedAt });
      using path = sandbox !== undefined && isNetns(sandbox) ? lendNetns(env["CNI_NETNS"] ?? "", sandbox) : undefined;
      const ours = isAnswer(read) || (this.#sees(read, request, path !== undefined) && !this.#options.leave?.(read));
      if (!sendNow(socket, ours ? ACCEPTED : DECLINED) || !ours) return;
      // From here on the request takes as long as it takes.
      socket.setTimeout(0);
      await this.#answer(socket, isAnswer(read) ? read : await serveCall(read, host(new LauncherNames(socket))));
    } catch (error) {
      log.error("a CNI request could not be served", { error });
    } finally {
      socket.destroy();
    }
  }

  /** Whether this process sees what the request is about as the plugin would. */
  #sees({ config, env, verb }: CniCall, { own }: LauncherRequest, sandbox: boolean): boolean {
    const { runDir, dataDir } = this.#options;
    if (config.ipam !== undefined || config.runDir !== runDir || config.dataDir !== dataDir) return false;
    // A sandbox that the launcher could not open is gone for a DEL, and the plugin's to name in every other case.
    return sameNetns(own, this.#own) && (sandbox || verb === "DEL" || !env["CNI_NETNS"]);
  }

  /** Hands over an answer; an ADD that nobody heard of is taken back before the connection is closed. */
  async #answer(socket: Socket, answer: CniAnswer): Promise<void> {
    const delivered = new Promise<boolean>((resolve) => {
      socket.once("data", (chunk: Buffer) => resolve(chunk[0] === DELIVERED));
      for (const event of ["end", "close", "timeout", "error"]) socket.once(event, () => resolve(false));
    });
    if (socket.destroyed) {
      await answer.undo?.();
      return;
    }
    socket.setTimeout(IDLE_MS);
    socket.write(encodeAnswer(answer));
    socket.resume();
    if ((await delivered) || !answer.undo) return;
    this.#options.log.warn("a runtime did not take the answer to its ADD; taking the attachment back");
    await answer.undo();
  }
}
