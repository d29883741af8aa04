/**
 * Names for network namespaces, by way of the launcher whose request is being served: it runs in the host's mount namespace, and
 * a mount that it makes outlives this process and its container (see cmd/launcher/launcher.c).
 */
import { endianness } from "node:os";
import type { Socket } from "node:net";
import { sendDescriptor, sendNow, SysError } from "../sys/index.ts";
import type { NetnsMounter } from "../dataplane/netns/index.ts";

/** What is asked for, as numbers that no exit status is. */
const HOLD = 0x484f_4c44;
const RELEASE = 0x5245_4c53;
/** How long the launcher has for it, in milliseconds. */
const PATIENCE_MS = 5_000;

const little = endianness() === "LE";

function encode(what: number, name: string): Buffer {
  const out = Buffer.alloc(8 + name.length);
  const put = (value: number, at: number) => (little ? out.writeUInt32LE(value, at) : out.writeUInt32BE(value, at));
  put(what, 0);
  put(name.length, 4);
  out.write(name, 8, "latin1");
  return out;
}

/** The names that the launcher at the other end of a connection gives and takes, one at a time, before it has its answer. */
export class LauncherMounter implements NetnsMounter {
  readonly #socket: Socket;
  /** The question that was put last: there is one answer at a time. */
  #last: Promise<unknown> = Promise.resolve();

  constructor(socket: Socket) {
    this.#socket = socket;
  }

  hold(name: string, fd: number): Promise<void> {
    return this.#ask(name, "giving it to a network namespace", () =>
      sendDescriptor(this.#socket, encode(HOLD, name), fd),
    );
  }

  release(name: string): Promise<void> {
    return this.#ask(name, "taking it from a network namespace", () => sendNow(this.#socket, encode(RELEASE, name)));
  }

  #ask(name: string, doing: string, send: () => boolean): Promise<void> {
    const mine = this.#last.then(() => this.#askNow(name, doing, send));
    this.#last = mine.catch(() => undefined);
    return mine;
  }

  async #askNow(name: string, doing: string, send: () => boolean): Promise<void> {
    const reply = this.#reply();
    const errno = send() ? await reply : undefined;
    if (errno === undefined) throw new Error(`name ${name}: ${doing}: the launcher is gone`);
    if (errno !== 0) throw new SysError(errno, "mount", `name ${name}: ${doing}`);
  }

  /** The errno of the answer; undefined when none comes. */
  #reply(): Promise<number | undefined> {
    const socket = this.#socket;
    return new Promise((resolve) => {
      let got = Buffer.alloc(0);
      const end = (errno?: number): void => {
        clearTimeout(timer);
        socket.off("data", take).off("end", gone).off("close", gone).pause();
        resolve(errno);
      };
      const gone = (): void => end();
      const take = (chunk: Buffer): void => {
        got = Buffer.concat([got, chunk]);
        if (got.length >= 4) end(little ? got.readUInt32LE(0) : got.readUInt32BE(0));
      };
      const timer = setTimeout(gone, PATIENCE_MS);
      socket.on("data", take).on("end", gone).on("close", gone).resume();
    });
  }
}
