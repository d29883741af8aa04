/**
 * Notifications of what changes in a namespace, whoever changes it.
 *
 * The socket is read by `fs.read` in libuv's thread pool, which hands over the kernel's real error when the reader was
 * too slow (ENOBUFS; libuv's own polling cannot tell that from a broken descriptor). What has come meanwhile is
 * drained without waiting, so that a burst costs one event.
 *
 * After an overrun the kernel drops notifications silently until the queue has been read empty. So the queue is emptied
 * first, its content thrown away, and only then {@link MonitorOptions.onResync} called: what changes after that call is
 * announced again, what changed before is in the dump that it makes.
 *
 * The kernel does not announce everything one by one: IPv4 routes and neighbours that go because their device goes
 * or is set down are only told by the device's event.
 */
import { read } from "node:fs";
import { constants } from "node:os";
import { errnoName, errnoText, KernelSocket, SysError, withNetns } from "../sys/index.ts";
import { GROUP, NLMSG, Protocol } from "./constants.ts";
import { decodeEvent, splitMessages } from "./decode/message.ts";
import { MalformedMessage } from "./errors.ts";
import type { NetlinkEvent } from "./types.ts";
import { MessageWriter } from "./writer.ts";

const DATAGRAM = 256 * 1024;
const RECEIVE_BUFFER = 8 * 1024 * 1024;
/** The reader looks this often by itself whether it was closed, in case that waking it failed (milliseconds). */
const LOOK_UP = 1_000;
/** Datagrams handled in one go, so that a flood does not keep the event loop. */
const DRAIN = 512;
/** Errors in a row that nobody expects, after which watching is given up loudly. */
const FAULTS = 8;

/** What can be watched; neighbours include FDB entries. */
export type MonitorKind = "link" | "address" | "route" | "neighbour";

export const GROUPS: Readonly<Record<MonitorKind, number>> = {
  link: GROUP.LINK,
  address: GROUP.IPV4_IFADDR | GROUP.IPV6_IFADDR,
  route: GROUP.IPV4_ROUTE | GROUP.IPV6_ROUTE,
  neighbour: GROUP.NEIGH,
};

export interface MonitorOptions {
  /** Namespace (path or file descriptor) to watch; the process's own by default. */
  netns?: number | string;
  kinds: readonly MonitorKind[];
  /** Called with what happened, in order, never empty. */
  onEvents: (events: NetlinkEvent[]) => void;
  /** Events were lost, for the given reason: whoever keeps a picture of the kernel must dump it again. */
  onResync: (reason: string) => void;
  /** Room for notifications that were not read yet; 8 MiB by default. */
  receiveBufferBytes?: number;
}

/**
 * Watches a namespace from the moment of {@link Monitor.open} on. An exception out of a handler is thrown again outside
 * of the reader (an uncaught exception of the process), which goes on.
 */
export class Monitor {
  readonly #socket: KernelSocket;
  readonly #options: MonitorOptions;
  readonly #buffer = Buffer.allocUnsafeSlow(DATAGRAM);
  readonly #ended: Promise<void>;
  #closing = false;
  /** Events were lost and the queue has not been empty since; why. */
  #lost: string | undefined;

  /** Node waits for its threads when the process exits: the one that reads here is let go. */
  readonly #onExit = (): void => this.#wake();

  private constructor(socket: KernelSocket, options: MonitorOptions) {
    this.#socket = socket;
    this.#options = options;
    process.once("exit", this.#onExit);
    this.#ended = this.#run();
  }

  /** Starts to watch. @throws SysError when the namespace cannot be entered or the socket not be opened */
  static open(options: MonitorOptions): Monitor {
    const groups = options.kinds.reduce((bits, kind) => bits | GROUPS[kind], 0);
    const open = () => KernelSocket.open(Protocol.ROUTE, groups);
    const socket = options.netns === undefined ? open() : withNetns(options.netns, open);
    try {
      socket.setReceiveBuffer(options.receiveBufferBytes ?? RECEIVE_BUFFER);
      socket.setReceiveTimeout(LOOK_UP);
      return new Monitor(socket, options);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** Stops watching; no handler is called after this. Resolves when the reader has left and the socket is closed. */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#wake();
    }
    await this.#ended;
  }

  /** Ends the reader's wait at once by a message to its own port; where that is not permitted it looks up by itself soon. */
  #wake(): void {
    const writer = new MessageWriter(64);
    writer.message(NLMSG.NOOP, 0, 0, () => undefined);
    try {
      this.#socket.send(writer.buffer, writer.length, this.#socket.port, false);
    } catch (error) {
      // EAGAIN: the queue is full, so the reader is not waiting. EPERM: without CAP_NET_ADMIN.
      if (!(error instanceof SysError)) throw error;
    }
  }

  async #run(): Promise<void> {
    let faults = 0;
    try {
      while (!this.#closing) {
        const first = await this.#read();
        if (this.#closing) return;
        const fault = this.#turn(first);
        faults = fault === undefined ? 0 : faults + 1;
        if (faults >= FAULTS) {
          throw new SysError(fault ?? 0, "read", `watching a network namespace, ${FAULTS} times in a row`);
        }
      }
    } catch (error) {
      raise(error);
    } finally {
      this.#closing = true;
      process.removeListener("exit", this.#onExit);
      this.#socket.close();
    }
  }

  /** Waits for a datagram or an error in a thread of the pool. */
  #read(): Promise<{ bytes: number } | { errno: number }> {
    return new Promise((resolve) => {
      read(this.#socket.fd, this.#buffer, 0, DATAGRAM, null, (error, bytes) => {
        resolve(error ? { errno: Math.abs(error.errno ?? constants.errno.EIO) } : { bytes });
      });
    });
  }

  /** Handles what was read and what has come since. Returns the number of an error that nobody expects, if there was one. */
  #turn(first: { bytes: number } | { errno: number }): number | undefined {
    const events: NetlinkEvent[] = [];
    let fault: number | undefined;
    if ("errno" in first) fault = this.#failed(first.errno);
    // read(2) does not tell that a datagram was cut: one that fills the buffer may be.
    else this.#take(first.bytes, first.bytes === DATAGRAM, events);
    let empty = false;
    for (let count = 0; count < DRAIN && !empty; count++) {
      const got = this.#socket.receive(this.#buffer, false);
      if (typeof got !== "number") {
        if (got.sender === 0) this.#take(got.length, got.truncated, events);
      } else if (got === constants.errno.EAGAIN) empty = true;
      else fault = this.#failed(got);
    }
    if (this.#lost === undefined) {
      if (events.length > 0) this.#call(() => this.#options.onEvents(events));
    } else if (empty) {
      const reason = this.#lost;
      this.#lost = undefined;
      this.#call(() => this.#options.onResync(reason));
    }
    return fault;
  }

  #failed(errno: number): number | undefined {
    switch (errno) {
      case constants.errno.EAGAIN:
      case constants.errno.EINTR:
        return undefined;
      case constants.errno.ENOBUFS:
        this.#lost ??= "notifications came faster than they were read (ENOBUFS)";
        return undefined;
      default:
        this.#lost ??= `reading notifications failed: ${errnoText(errno)} (${errnoName(errno)})`;
        return errno;
    }
  }

  #take(bytes: number, cut: boolean, events: NetlinkEvent[]): void {
    if (this.#lost !== undefined) return;
    if (cut) {
      this.#lost = `a notification was longer than ${DATAGRAM} bytes`;
      return;
    }
    try {
      for (const message of splitMessages(this.#buffer.subarray(0, bytes))) {
        const event = decodeEvent(message);
        if (event) events.push(event);
      }
    } catch (error) {
      if (!(error instanceof MalformedMessage)) throw error;
      this.#lost = error.message;
    }
  }

  #call(handler: () => void): void {
    try {
      handler();
    } catch (error) {
      raise(error);
    }
  }
}

/** Throws where nobody of ours catches it: the process's own policy for uncaught exceptions applies. */
function raise(error: unknown): void {
  setImmediate(() => {
    throw error;
  });
}
