/**
 * A conversation with the kernel: messages out, the answers to exactly these messages back. The kernel works
 * while the message is being sent, so asking is synchronous: there is nothing to wait for.
 *
 * Only datagrams from the kernel (port 0) that carry our port and one of the awaited sequence numbers count;
 * everything else is passed over. After any exchange that did not come to its regular end the socket is replaced
 * by a new one in the same namespace, so that a late answer is never taken for another's.
 */
import { write } from "node:fs";
import { promisify } from "node:util";
import { closeFd, errnoName, KernelSocket, monotonicMs, SysError, withNetns } from "../../sys/index.ts";
import { NetlinkOption, Protocol } from "../constants.ts";
import { type NetlinkMessage, splitMessages } from "../decode/message.ts";
import { MalformedMessage, NetlinkError, NetlinkTimeout } from "../errors.ts";
import { MessageWriter } from "./writer.ts";

const writeFd = promisify(write);
/** Room for one datagram; the kernel makes none above 64 KiB for rtnetlink today. */
const DATAGRAM = 256 * 1024;
/** Room for answers that were not read yet: a batch in which everything fails needs about 1 KiB an entry. */
const RECEIVE_BUFFER = 4 * 1024 * 1024;

export interface ConnectionOptions {
  /** Namespace (path or file descriptor) to talk in; the process's own by default. */
  netns?: number | string;
  /** How long to wait for an answer, in milliseconds. */
  timeoutMs: number;
  /** Of netlink; rtnetlink by default. */
  protocol?: number;
}

/** @throws SysError when the namespace cannot be entered or the socket not be opened */
function openSocket({ netns, timeoutMs, protocol = Protocol.ROUTE }: ConnectionOptions): KernelSocket {
  const open = () => KernelSocket.open(protocol);
  const socket = netns === undefined ? open() : withNetns(netns, open);
  try {
    socket.setReceiveBuffer(RECEIVE_BUFFER);
    socket.setReceiveTimeout(timeoutMs);
    // Explanations in words; errors without a copy of the request; filters of dumps heeded (each where the kernel can).
    socket.enable(NetlinkOption.EXT_ACK);
    socket.enable(NetlinkOption.CAP_ACK);
    socket.enable(NetlinkOption.GET_STRICT_CHK);
    return socket;
  } catch (error) {
    socket.close();
    throw error;
  }
}

/**
 * Where answers are read into. Exchanges hardly ever nest, so all connections share one: an agent opens two for every pod,
 * and memory of that size is mapped and cleared anew each time.
 */
let spare: Buffer | undefined;

/** Who wants to know from which port (nl_pid) requests come; undefined: from none any more. */
export type PortFollower = (port: number | undefined) => void;

/** A socket for requests, with the buffers that it needs. */
export class Connection implements Disposable {
  readonly writer = new MessageWriter();
  /** How long to wait for an answer, in milliseconds. */
  readonly timeoutMs: number;
  #socket: KernelSocket;
  #seq = 0;
  #stale = false;
  /** The kernel works for it in a thread of the pool. */
  #working = false;
  #closed = false;
  readonly #followers = new Set<PortFollower>();

  readonly #protocol: number | undefined;

  private constructor(socket: KernelSocket, { timeoutMs, protocol }: ConnectionOptions) {
    this.#socket = socket;
    this.timeoutMs = timeoutMs;
    this.#protocol = protocol;
  }

  /** @throws SysError when the namespace cannot be entered or the socket not be opened */
  static open(options: ConnectionOptions): Connection {
    return new Connection(openSocket(options), options);
  }

  /** The next sequence number; those of one exchange follow one another. */
  nextSeq(): number {
    this.#seq = this.#seq >= 0x7fff_ffff ? 1 : this.#seq + 1;
    return this.#seq;
  }

  /**
   * Makes sure that the next `count` sequence numbers do not wrap around.
   */
  reserveSeqs(count: number): void {
    if (this.#seq > 0x7fff_ffff - count) this.#seq = 0;
  }

  /**
   * Sends what is in the writer and hands over each message that answers one of the sequence numbers `first` to `last`,
   * until `handle` returns true. The timeout counts from the last answer, since a long list may take its time.
   * @throws NetlinkTimeout, NetlinkError (sending failed, or answers were lost), MalformedMessage
   */
  exchange(doing: string, first: number, last: number, handle: (message: NetlinkMessage) => boolean): void {
    const socket = this.#usable();
    try {
      socket.send(this.writer.buffer, this.writer.length);
    } catch (error) {
      throw this.#notSent(error, doing);
    }
    this.#answers(socket, doing, first, last, handle);
  }

  /**
   * The same for who has other things to do while the kernel works: a thread of the pool waits for it. Until this has resolved, the
   * connection takes nothing else. @throws as {@link exchange}
   */
  async exchangeInBackground(
    doing: string,
    first: number,
    last: number,
    handle: (message: NetlinkMessage) => boolean,
  ): Promise<void> {
    const socket = this.#usable();
    this.#working = true;
    try {
      // A socket without a destination talks to the kernel.
      await writeFd(socket.fd, this.writer.buffer, 0, this.writer.length, null);
    } catch (error) {
      throw this.#notSent(SysError.from(error, doing), doing);
    } finally {
      this.#working = false;
    }
    this.#answers(socket, doing, first, last, handle);
  }

  #notSent(error: unknown, doing: string): unknown {
    this.#stale = true;
    return error instanceof SysError ? new NetlinkError({ errno: error.errno, doing }) : error;
  }

  #answers(
    socket: KernelSocket,
    doing: string,
    first: number,
    last: number,
    handle: (message: NetlinkMessage) => boolean,
  ): void {
    const datagram = spare ?? Buffer.allocUnsafeSlow(DATAGRAM);
    spare = undefined;
    try {
      let deadline = monotonicMs() + this.timeoutMs;
      for (;;) {
        let answers = 0;
        for (const message of this.#receive(socket, datagram, doing)) {
          if (message.port !== socket.port || message.seq < first || message.seq > last) continue;
          if (handle(message)) return;
          answers++;
        }
        const now = monotonicMs();
        if (answers > 0) deadline = now + this.timeoutMs;
        else if (now > deadline) throw new NetlinkTimeout(doing, this.timeoutMs);
      }
    } catch (error) {
      this.#stale = true;
      throw error;
    } finally {
      spare = datagram;
    }
  }

  /** The messages of the next datagram of the kernel's; none when it was somebody else's. */
  #receive(socket: KernelSocket, datagram: Buffer, doing: string): readonly NetlinkMessage[] {
    const got = socket.receive(datagram, true);
    if (typeof got === "number") {
      const code = errnoName(got);
      if (code === "EINTR") return [];
      if (code === "EAGAIN") throw new NetlinkTimeout(doing, this.timeoutMs);
      throw new NetlinkError({ errno: got, doing: `${doing}, answers may be lost` });
    }
    if (got.sender !== 0) return [];
    if (got.truncated) throw new MalformedMessage(`an answer longer than ${DATAGRAM} bytes came when ${doing}`);
    return splitMessages(datagram.subarray(0, got.length));
  }

  /** Another socket in the same namespace; the caller closes it. @throws SysError */
  another(): KernelSocket {
    const netns = this.#socket.netns();
    try {
      return openSocket({
        netns,
        timeoutMs: this.timeoutMs,
        ...(this.#protocol !== undefined && { protocol: this.#protocol }),
      });
    } finally {
      closeFd(netns);
    }
  }

  #usable(): KernelSocket {
    if (this.#closed) throw new Error("this netlink connection is closed");
    if (this.#working) throw new Error("this netlink connection waits for the kernel's answer");
    if (!this.#stale) return this.#socket;
    const old = this.#socket;
    this.#socket = this.another();
    // As long as the old one is open, its port is nobody else's.
    this.#tell(this.#socket.port);
    old.close();
    this.#stale = false;
    return this.#socket;
  }

  /**
   * Tells somebody of the port that requests come from: at once, when it becomes another one, and, with undefined, before it is given up.
   * @returns what ends that
   */
  followPort(follower: PortFollower): () => void {
    this.#followers.add(follower);
    follower(this.#closed ? undefined : this.#socket.port);
    return () => void this.#followers.delete(follower);
  }

  #tell(port: number | undefined): void {
    for (const follower of this.#followers) follower(port);
  }

  /** Closes the socket; a second call does nothing. */
  close(): void {
    if (!this.#closed) this.#tell(undefined);
    this.#closed = true;
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
