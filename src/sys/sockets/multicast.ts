/**
 * Reading what the kernel announces to a multicast group, for as long as somebody wants to hear it.
 *
 * A socket of the process's own namespace is read by `fs.read` in libuv's thread pool, which hands over the kernel's real
 * error when the reader was too slow (ENOBUFS; libuv's own polling cannot tell that from a broken descriptor). What has
 * come meanwhile is drained without waiting, so that a burst costs one event. Of other namespaces there may be a thousand,
 * more than there are threads: whoever watches one is told by a signal that there is something to drain (arrivals.ts).
 *
 * After an overrun the kernel drops notifications silently until the queue has been read empty. So the queue is emptied
 * first, its content thrown away, and only then {@link MulticastHandlers.onLost} called: what changes after that call
 * is announced again, what changed before is there to be asked for.
 */
import { read } from "node:fs";
import { constants } from "node:os";
import { watchArrivals } from "./arrivals.ts";
import { errnoName, errnoText, SysError } from "../errors.ts";
import { withNetns } from "../netns.ts";
import { attachFilter, type FilterInstruction } from "./filter.ts";
import { KernelSocket } from "./socket.ts";

/** A datagram that fills this many bytes is taken for one that was cut. */
const DATAGRAM = 256 * 1024;
const RECEIVE_BUFFER = 8 * 1024 * 1024;
/** The reader looks this often by itself whether it was closed, in case that waking it failed (milliseconds). */
const LOOK_UP = 5_000;
/** Datagrams handled in one go, so that a flood does not keep the event loop. */
const DRAIN = 512;
/** Errors in a row that nobody expects, after which reading is given up loudly. */
const FAULTS = 8;
/** linux/netlink.h: the length of a message's header, and a message that says nothing. */
const HEADER = 16;
const NLMSG_NOOP = 1;

/** What all readers without a thread read into: each drains its socket in one go, and nothing is kept from one datagram to the next. */
let draining: Buffer | undefined;

/** Which announcements to hear. */
export interface MulticastGroups {
  /** Netlink protocol: 0 is rtnetlink, 12 netfilter. */
  protocol: number;
  /** Bits of the groups; bit 0 is group 1. */
  groups: number;
  /** Namespace (path or file descriptor); the process's own by default. */
  netns?: number | string | undefined;
  /** Room for what was not read yet; 8 MiB by default. */
  receiveBufferBytes?: number | undefined;
  /**
   * How long the reader rests once it has read all there was, in milliseconds; not at all by default. Waking it costs more than reading a datagram: where
   * many come and nobody is in a hurry, those that come meanwhile are read in one go.
   */
  restMs?: number | undefined;
  /** Asks the kernel, on the socket that is read, for what is announced to whoever asks and not to a group. */
  subscribe?: ((socket: KernelSocket) => void) | undefined;
}

/** What a reader calls. An exception out of `onDrained` or `onLost` becomes an uncaught exception of the process; the reader goes on. */
export interface MulticastHandlers {
  /** One datagram, valid during the call. Returns why it cannot be read, if so: it counts as lost. An exception ends the reader, uncaught. */
  onDatagram: (datagram: Buffer) => string | undefined;
  /** All that had come was handed over. */
  onDrained: () => void;
  /** Something was lost, for the given reason; what was handed over since the last `onDrained` is not all that happened. */
  onLost: (reason: string) => void;
}

/** Opens a socket that is a member of multicast groups, for whoever reads it in a way of its own. @throws SysError, and what `subscribe` throws */
export function openMulticast(options: MulticastGroups): KernelSocket {
  const { protocol, groups, netns, receiveBufferBytes = RECEIVE_BUFFER, subscribe } = options;
  const open = () => KernelSocket.open(protocol, groups);
  const socket = netns === undefined ? open() : withNetns(netns, open);
  try {
    socket.setReceiveBuffer(receiveBufferBytes);
    subscribe?.(socket);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** Reads announcements from the moment of {@link MulticastReader.open} on. */
export class MulticastReader {
  readonly #socket: KernelSocket;
  readonly #what: string;
  readonly #handlers: MulticastHandlers;
  readonly #buffer: Buffer;
  readonly #ended: Promise<void>;
  readonly #restMs: number;
  readonly #threaded: boolean;
  #closing = false;
  /** Ends its rest. */
  #resting: (() => void) | undefined;
  /** All that had come was read. */
  #empty = false;
  /** Without a thread: what tells of arrivals, and who waits for one. */
  #arrivals: Disposable | undefined;
  #arrived = false;
  #waiting: (() => void) | undefined;
  /** Something was lost and the queue has not been empty since; why. */
  #lost: string | undefined;

  /** Node waits for its threads when the process exits: the one that reads here is let go. */
  readonly #onExit = (): void => this.#wake();

  private constructor(socket: KernelSocket, what: string, handlers: MulticastHandlers, groups: MulticastGroups) {
    const threaded = groups.netns === undefined;
    this.#socket = socket;
    this.#threaded = threaded;
    this.#restMs = groups.restMs ?? 0;
    this.#what = what;
    this.#handlers = handlers;
    this.#buffer = threaded ? Buffer.allocUnsafeSlow(DATAGRAM) : (draining ??= Buffer.allocUnsafeSlow(DATAGRAM));
    if (threaded) process.once("exit", this.#onExit);
    else this.#listen();
    this.#ended = this.#run();
  }

  /**
   * Starts to read. @param what says in errors what is watched: "a network namespace".
   * @throws SysError when the namespace cannot be entered or the socket not be opened
   */
  static open(what: string, groups: MulticastGroups, handlers: MulticastHandlers): MulticastReader {
    const socket = openMulticast(groups);
    try {
      socket.setReceiveTimeout(LOOK_UP);
      return new MulticastReader(socket, what, handlers, groups);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** Has the kernel keep back what a program of its says so about, from now on. @throws SysError */
  filter(instructions: readonly FilterInstruction[]): void {
    if (!this.#closing) attachFilter(this.#socket.fd, instructions);
  }

  /** How many datagrams the kernel has dropped as there was no room for them. @throws SysError */
  get dropped(): number {
    return this.#socket.dropped();
  }

  /** Stops reading; no handler is called after this. Resolves when the reader has left and the socket is closed. */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#resting?.();
      this.#wake();
    }
    await this.#ended;
  }

  /** Without a thread: hears of what arrives from now on, and of what is there. */
  #listen(): void {
    this.#arrivals = watchArrivals(this.#socket.fd, () => this.#arrive());
  }

  #arrive(): void {
    this.#arrived = true;
    this.#waiting?.();
    this.#waiting = undefined;
  }

  /** Ends the reader's wait at once by a message to its own port; where that is not permitted it looks up by itself soon. */
  #wake(): void {
    if (!this.#threaded) {
      this.#arrive();
      return;
    }
    const nothing = Buffer.alloc(HEADER);
    nothing.writeUInt32LE(HEADER, 0);
    nothing.writeUInt16LE(NLMSG_NOOP, 4);
    try {
      this.#socket.send(nothing, nothing.length, this.#socket.port, false);
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
        if (faults >= FAULTS)
          throw new SysError(fault ?? 0, "read", `watching ${this.#what}, ${FAULTS} times in a row`);
        if (this.#restMs > 0 && this.#empty) await this.#rest();
      }
    } catch (error) {
      raise(error);
    } finally {
      this.#closing = true;
      process.removeListener("exit", this.#onExit);
      this.#arrivals?.[Symbol.dispose]();
      this.#socket.close();
    }
  }

  async #rest(): Promise<void> {
    // No signal for what comes meanwhile.
    this.#arrivals?.[Symbol.dispose]();
    let timer: NodeJS.Timeout | undefined;
    await new Promise<void>((resolve) => {
      this.#resting = resolve;
      timer = setTimeout(resolve, this.#restMs);
    });
    clearTimeout(timer);
    this.#resting = undefined;
    if (!this.#threaded && !this.#closing) this.#listen();
  }

  /** Waits for a datagram or an error in a thread of the pool, or for the news that there is one. */
  #read(): Promise<{ bytes: number } | { errno: number }> {
    if (!this.#threaded) return this.#arrival();
    return new Promise((resolve) => {
      read(this.#socket.fd, this.#buffer, 0, DATAGRAM, null, (error, bytes) => {
        resolve(error ? { errno: Math.abs(error.errno ?? constants.errno.EIO) } : { bytes });
      });
    });
  }

  async #arrival(): Promise<{ errno: number }> {
    if (!this.#arrived) await new Promise<void>((resolve) => (this.#waiting = resolve));
    this.#arrived = false;
    return { errno: constants.errno.EAGAIN };
  }

  /** Handles what was read and what has come since. Returns the number of an error that nobody expects, if there was one. */
  #turn(first: { bytes: number } | { errno: number }): number | undefined {
    let fault: number | undefined;
    if ("errno" in first) fault = this.#failed(first.errno);
    // read(2) does not tell that a datagram was cut: one that fills the buffer may be.
    else this.#take(first.bytes, first.bytes === DATAGRAM);
    let empty = false;
    for (let count = 0; count < DRAIN && !empty; count++) {
      const got = this.#socket.receive(this.#buffer, false);
      if (typeof got !== "number") {
        if (got.sender === 0) this.#take(got.length, got.truncated);
        // As where the sender is not known: what somebody else sends here cannot be what the kernel announces.
        else if (!this.#threaded) this.#lost ??= "something was sent that cannot be read as an announcement";
      } else if (got === constants.errno.EAGAIN) empty = true;
      else fault = this.#failed(got);
    }
    this.#empty = empty;
    // Nobody tells again of what is left; the event loop turns before it is read.
    if (!empty && !this.#threaded) setImmediate(() => this.#arrive());
    if (this.#lost === undefined) this.#call(() => this.#handlers.onDrained());
    else if (empty) {
      const reason = this.#lost;
      this.#lost = undefined;
      this.#call(() => this.#handlers.onLost(reason));
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

  #take(bytes: number, cut: boolean): void {
    if (this.#lost !== undefined) return;
    this.#lost = cut
      ? `a notification was longer than ${DATAGRAM} bytes`
      : this.#handlers.onDatagram(this.#buffer.subarray(0, bytes));
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
