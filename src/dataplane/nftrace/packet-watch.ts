/** Marks packets and hears of them, from {@link PacketWatch.open} to {@link PacketWatch.close}, or the end of the process. */
import { constants } from "node:os";
import { NETLINK_NETFILTER, NF_ANSWER, nfErrno, nfMessages } from "../../netlink/index.ts";
import { errnoName, errnoText, type KernelSocket, openMulticast, SysError, watchArrivals } from "../../sys/index.ts";
import { type TraceEvent, traceEventsOf } from "./events.ts";
import { encodeTable, type MarkingRule } from "./table.ts";

/** NFNLGRP_NFTRACE, the ninth. */
const GROUP_TRACE = 1 << (9 - 1);
const DATAGRAM = 64 * 1024;
/** Events that are read: a packet has some ten on each way through a node. What the two pods send over and over is theirs to learn and repeat. */
const MOST_EVENTS = 4_096;

/** This kernel does not trace packets, or not for us. */
export class NoTracing extends Error {
  override readonly name = "NoTracing";

  constructor(errno: number) {
    const old = errno === constants.errno.EOPNOTSUPP ? " (tables that end with their owner came with Linux 5.12)" : "";
    super(`the kernel refuses the table that marks packets: ${errnoText(errno)}, ${errnoName(errno)}${old}`);
  }
}

/** What was marked is told of in the process's own network namespace. */
export class PacketWatch implements Disposable {
  readonly #socket: KernelSocket;
  readonly #arrivals: Disposable;
  readonly #buffer = Buffer.allocUnsafeSlow(DATAGRAM);
  readonly #onEvent: (event: TraceEvent) => void;
  #left = MOST_EVENTS;
  #lost = false;

  private constructor(socket: KernelSocket, onEvent: (event: TraceEvent) => void) {
    this.#socket = socket;
    this.#onEvent = onEvent;
    this.#arrivals = watchArrivals(socket.fd, () => this.drain());
  }

  /**
   * @param table a name that nobody else uses. @param onEvent is called from the event loop and from {@link drain}, in order
   * @throws NoTracing; SysError EPERM without CAP_NET_ADMIN, or when the conversation with the kernel fails
   */
  static open(table: string, rules: readonly MarkingRule[], onEvent: (event: TraceEvent) => void): PacketWatch {
    const socket = openMulticast({ protocol: NETLINK_NETFILTER, groups: GROUP_TRACE });
    try {
      make(socket, table, rules);
      return new PacketWatch(socket, onEvent);
    } catch (error) {
      socket.close();
      throw error;
    }
  }

  /** Not everything was heard: there was more than anybody reads, or than there was room for. */
  get lost(): boolean {
    return this.#lost;
  }

  /** Hands over all that the kernel has told until now. */
  drain(): void {
    for (;;) {
      const got = this.#socket.receive(this.#buffer, false);
      if (got === constants.errno.EAGAIN) return;
      if (got === constants.errno.EINTR) continue;
      if (got === constants.errno.ENOBUFS) {
        this.#lost = true;
        continue;
      }
      if (typeof got === "number") throw new SysError(got, "recvfrom", "reading what becomes of marked packets");
      if (got.sender !== 0) continue;
      for (const event of traceEventsOf(this.#buffer.subarray(0, got.length))) {
        if (this.#left-- > 0) this.#onEvent(event);
        else this.#lost = true;
      }
    }
  }

  /** Stops; the kernel removes the table. */
  close(): void {
    this.#arrivals[Symbol.dispose]();
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The kernel has done it, and queued its answers, before sending returns. @throws NoTracing, SysError */
function make(socket: KernelSocket, table: string, rules: readonly MarkingRule[]): void {
  const { bytes, requests } = encodeTable(table, rules);
  socket.send(bytes, bytes.length);
  const buffer = Buffer.allocUnsafe(DATAGRAM);
  for (let answered = 0; answered < requests; ) {
    const got = socket.receive(buffer, false);
    if (typeof got === "number") throw new SysError(got, "recvfrom", "waiting for the kernel's answer about a table");
    const datagram = buffer.subarray(0, got.length);
    for (const one of nfMessages(datagram)) {
      // Marked packets may be told of before.
      if (one.type !== NF_ANSWER.ERROR) continue;
      const errno = nfErrno(datagram, one);
      if (errno !== 0) throw new NoTracing(errno);
      answered++;
    }
  }
}
