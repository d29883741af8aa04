/**
 * Serves CNI requests that the launcher hands over, with the plugin's own verbs. A request is accepted only when this
 * process sees the machine as the plugin would: the same directories, the same network namespace, no IPAM plugin to start, and
 * only from the host: who has the socket mounted in a pod has neither the host's network namespace nor the launcher's key. The
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
  arrival,
  closeFd,
  isNetns,
  lendNetns,
  monotonicMs,
  netnsIdentity,
  type NetnsIdentity,
  type PeerCredentials,
  peerCredentials,
  peerNetns,
  receiveDescriptor,
  sameNetns,
  sendNow,
} from "../sys/index.ts";
import { Callers } from "./cni-callers.ts";
import { accepted, DECLINED, DELIVERED, encodeAnswer, type LauncherRequest, RequestReader } from "./cni-wire.ts";
import { KeptSocket } from "../http/index.ts";
import { LauncherKey } from "./launcher-key.ts";
import { LauncherMounter } from "./launcher-mounter.ts";
import type { NetnsMounter } from "../dataplane/netns/index.ts";

/** Name of the socket in the run directory; the launcher looks for it there. */
export const CNI_SOCKET = "cni.sock";
/** More launchers at once than this are turned away, and start the plugin. */
const MAX_CONNECTIONS = 256;
/** How often a reason to refuse requests is said, in milliseconds. */
const SAY_MS = 10_000;
/** How long a launcher may take to send a request, or leave an answer unread, in milliseconds. */
const IDLE_MS = 10_000;

export interface CniServerOptions {
  runDir: string;
  dataDir: string;
  /** The machine, for one request: whoever made it can give names to network namespaces. */
  host: (names: NetnsMounter) => Host;
  log: Logger;
  /** Whether a request that could be served here is left to the plugin all the same; never by default. */
  leave?: (call: CniCall) => boolean;
  /** Who is at the other end of a connection, as {@link peerOf}, which takes the right to administer the network; for tests. */
  peer?: typeof peerOf;
}

/** Who has connected. */
interface SocketPeer extends Pick<PeerCredentials, "uid" | "pid"> {
  netns: NetnsIdentity;
}

/** Asks the kernel; undefined once the connection is closed. @throws SysError */
function peerOf(socket: Socket): SocketPeer | undefined {
  const credentials = peerCredentials(socket);
  const netns = peerNetns(socket);
  return credentials && netns && { ...credentials, netns };
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
  /** The key that launchers show, as a duty of who looks after the disk. */
  readonly key: LauncherKey;
  readonly #callers = new Callers();
  #socket: KeptSocket | undefined;
  readonly #own: NetnsIdentity;
  readonly #waiting: Waiting[] = [];
  /** The last request of each attachment that is under way. */
  readonly #underWay = new Map<string, Promise<void>>();
  #turn: NodeJS.Immediate | undefined;
  /** When each reason to refuse was said last, and how often it was had since. */
  readonly #refusals = new Map<string, { at: number; count: number }>();

  private constructor(options: CniServerOptions) {
    this.#options = options;
    this.key = new LauncherKey(options.dataDir);
    this.#own = netnsIdentity("/proc/thread-self/ns/net");
  }

  /** Listens on a socket that only its owner may use. @throws Error with `code` when it cannot listen */
  static async listen(options: CniServerOptions): Promise<CniServer> {
    const server = new CniServer(options);
    server.key.keep();
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
    if (!this.#isLauncher(socket)) {
      socket.destroy();
      return;
    }
    this.#callers.came(socket);
    this.#receive(socket, startedAt).catch((error: unknown) => {
      this.#refused("whose sandbox cannot be received", { error });
      socket.destroy();
    });
  }

  /**
   * The sandbox first, which only recvmsg(2) can receive. A launcher sends it with its first system call after connect(2), so
   * it is nearly always there.
   */
  async #receive(socket: Socket, startedAt: number): Promise<void> {
    let handed = receiveDescriptor(socket);
    while (handed === "nothing yet") {
      await arrival(socket);
      handed = receiveDescriptor(socket);
    }
    if (typeof handed !== "object") {
      if (handed === "too many") this.#refused("with more than one open file");
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
        if (!this.key.knows(request.key)) {
          this.#refused("that does not show the key of this node's launcher");
          socket.destroy();
          return;
        }
        this.#callers.asked(socket);
        socket.off("data", take).removeAllListeners("end").pause();
        this.#waiting.push({ socket, sandbox, request, startedAt });
        this.#schedule();
      } catch (error) {
        if (!(error instanceof RangeError)) throw error;
        this.#refused("that is none", { error });
        socket.destroy();
      }
    };
    socket.on("data", take).resume();
  }

  /**
   * Whether root has connected, from this very network namespace, by the kernel's word: a pod that can reach the socket can say
   * what it likes. The socket's permissions say the same of root; this holds even where somebody changed them.
   */
  #isLauncher(socket: Socket): boolean {
    const peer = (this.#options.peer ?? peerOf)(socket);
    if (!peer) return false;
    const { uid, pid, netns } = peer;
    const isRoot = uid === 0 || uid === process.geteuid?.();
    if (!isRoot) this.#refused("from a user other than root", { uid, pid });
    else if (!sameNetns(netns, this.#own)) this.#refused("from another network namespace than the host's", { pid });
    else return true;
    return false;
  }

  /** Says that a request was refused; each reason not more often than once in a while. */
  #refused(why: string, details: Record<string, unknown> = {}): void {
    const now = monotonicMs();
    const { at, count } = this.#refusals.get(why) ?? { at: Number.NEGATIVE_INFINITY, count: 0 };
    const say = now - at >= SAY_MS;
    this.#refusals.set(why, say ? { at: now, count: 0 } : { at, count: count + 1 });
    if (say)
      this.#options.log.warn(`refused a CNI request ${why}`, { ...details, ...(count > 0 && { moreOfThem: count }) });
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
      if (!sendNow(socket, ours ? accepted(this.key.ours) : DECLINED) || !ours) return;
      // From here on the request takes as long as it takes.
      socket.setTimeout(0);
      await this.#answer(socket, isAnswer(read) ? read : await serveCall(read, host(new LauncherMounter(socket))));
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
