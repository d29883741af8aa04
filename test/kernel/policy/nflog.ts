/** Listens to packets that rules log to a group (linux/netfilter/nfnetlink_log.h), for their prefixes. */
import { KernelSocket, withNetns } from "../../../src/sys/index.ts";

const NETLINK_NETFILTER = 12;
const SUBSYSTEM_LOG = 4;
const MESSAGE = { PACKET: SUBSYSTEM_LOG << 8, CONFIG: (SUBSYSTEM_LOG << 8) | 1 } as const;
const REQUEST = 1;
const ATTRIBUTE = { CMD: 1, MODE: 2, PREFIX: 10 } as const;
const BIND = 1;
const COPY_NONE = 0;
const HEADER = 20;

export class LogListener implements Disposable {
  readonly #socket: KernelSocket;
  readonly #buffer = Buffer.alloc(65_536);

  constructor(netns: string, group: number) {
    this.#socket = withNetns(netns, () => KernelSocket.open(NETLINK_NETFILTER));
    this.#configure(group, ATTRIBUTE.CMD, Buffer.from([BIND, 0, 0, 0]), 1);
    this.#configure(group, ATTRIBUTE.MODE, Buffer.from([0, 0, 0, 0, COPY_NONE, 0, 0, 0]), 6);
  }

  /** Prefixes of what was logged and has come by now. */
  prefixes(): string[] {
    const found: string[] = [];
    for (;;) {
      const got = this.#socket.receive(this.#buffer, false);
      if (typeof got === "number") return found;
      for (let at = 0; at + HEADER <= got.length; ) {
        const length = this.#buffer.readUInt32LE(at);
        if (this.#buffer.readUInt16LE(at + 4) === MESSAGE.PACKET) found.push(...this.#prefix(at + HEADER, at + length));
        at += (length + 3) & ~3;
      }
    }
  }

  #prefix(from: number, to: number): string[] {
    for (let at = from; at + 4 <= to; ) {
      const length = this.#buffer.readUInt16LE(at);
      if (this.#buffer.readUInt16LE(at + 2) === ATTRIBUTE.PREFIX)
        return [this.#buffer.toString("utf8", at + 4, at + length - 1)];
      at += (length + 3) & ~3;
    }
    return [];
  }

  #configure(group: number, attribute: number, value: Buffer, used: number): void {
    const message = Buffer.alloc(HEADER + 4 + value.length);
    message.writeUInt32LE(message.length, 0);
    message.writeUInt16LE(MESSAGE.CONFIG, 4);
    message.writeUInt16LE(REQUEST, 6);
    message.writeUInt16BE(group, HEADER - 2);
    message.writeUInt16LE(4 + used, HEADER);
    message.writeUInt16LE(attribute, HEADER + 2);
    value.copy(message, HEADER + 4);
    this.#socket.send(message, message.length);
  }

  [Symbol.dispose](): void {
    this.#socket.close();
  }
}
