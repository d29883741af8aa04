/**
 * Waiting for what the kernel does after it has acknowledged a change: workers of its own make an IPv6 address usable,
 * for one, and announce it. For a moment's wait, by programs that have nothing else to do meanwhile and by those that have;
 * who watches for long uses the Monitor.
 */
import { read } from "node:fs";
import { promisify } from "node:util";
import { errnoName, KernelSocket, monotonicMs, withNetns } from "../../sys/index.ts";
import { Protocol } from "../constants.ts";
import { MalformedMessage } from "../errors.ts";
import { eventsOf, groupsOf, type MonitorKind } from "./monitor.ts";
import type { NetlinkEvent } from "../types.ts";

const DATAGRAM = 64 * 1024;
const readFd = promisify(read);

export interface EventWaitOptions {
  /** Namespace (path or file descriptor) to watch; the process's own by default. */
  netns?: number | string;
  kinds: readonly MonitorKind[];
}

/** Collects a namespace's notifications from the moment of {@link EventWait.open} on. */
export class EventWait implements Disposable {
  readonly #socket: KernelSocket;
  readonly #buffer = Buffer.allocUnsafeSlow(DATAGRAM);

  private constructor(socket: KernelSocket) {
    this.#socket = socket;
  }

  /** @throws SysError when the namespace cannot be entered or the socket not be opened */
  static open({ netns, kinds }: EventWaitOptions): EventWait {
    const open = () => KernelSocket.open(Protocol.ROUTE, groupsOf(kinds));
    return new EventWait(netns === undefined ? open() : withNetns(netns, open));
  }

  /**
   * Hands over notifications, those that came before the call first, until `seen` returns true. Returns false when that
   * did not happen in time, or when notifications were lost.
   */
  until(seen: (event: NetlinkEvent) => boolean, timeoutMs: number): boolean {
    const deadline = monotonicMs() + timeoutMs;
    for (;;) {
      const left = deadline - monotonicMs();
      if (left <= 0) return false;
      this.#socket.setReceiveTimeout(Math.ceil(left));
      const got = this.#socket.receive(this.#buffer, true);
      if (typeof got === "number") {
        if (errnoName(got) === "EINTR") continue;
        return false;
      }
      if (got.sender === 0 && this.#events(got.length).some(seen)) return true;
    }
  }

  /** The same without keeping the process from anything else: one of libuv's threads waits. */
  async untilAsync(seen: (event: NetlinkEvent) => boolean, timeoutMs: number): Promise<boolean> {
    const deadline = monotonicMs() + timeoutMs;
    for (;;) {
      let got = this.#socket.receive(this.#buffer, false);
      if (typeof got === "number") {
        if (errnoName(got) !== "EAGAIN") return false;
        const left = deadline - monotonicMs();
        if (left <= 0) return false;
        this.#socket.setReceiveTimeout(Math.ceil(left));
        try {
          const { bytesRead } = await readFd(this.#socket.fd, this.#buffer, 0, this.#buffer.length, null);
          got = { length: bytesRead, truncated: false, sender: 0 };
        } catch {
          return false; // in time it did not come, or notifications were lost
        }
      }
      if (got.sender === 0 && this.#events(got.length).some(seen)) return true;
    }
  }

  #events(length: number): NetlinkEvent[] {
    try {
      return eventsOf(this.#buffer.subarray(0, length));
    } catch (error) {
      if (error instanceof MalformedMessage) return [];
      throw error;
    }
  }

  /** Closes the socket; a second call does nothing. */
  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
