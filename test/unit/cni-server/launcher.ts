/** The launcher's end of the protocol (cmd/launcher), as far as a test says it; in the process of the server. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";
import { endianness } from "node:os";
import { sendDescriptor, sendNow } from "../../../src/sys/index.ts";

const little = endianness() === "LE";
const HOLD = 0x484f_4c44;
const RELEASE = 0x5245_4c53;

/** What is said. */
export interface Words {
  env: Record<string, string>;
  configuration: string;
  own: { dev: number; ino: number };
  /** Half a key. */
  key: Uint8Array;
  /** Descriptor of a sandbox. */
  sandbox?: number;
}

/** A request in the bytes of the launcher. */
export function bytesOf({ env, configuration, own, key }: Words): Buffer {
  const variables = Buffer.from(
    Object.entries(env)
      .map(([name, value]) => `${name}=${value}\0`)
      .join(""),
  );
  const head = Buffer.alloc(32);
  head.write("skylane3");
  const numbers: [number, number][] = [
    [variables.length, 8],
    [Buffer.byteLength(configuration), 12],
  ];
  for (const [value, at] of numbers) head[little ? "writeUInt32LE" : "writeUInt32BE"](value, at);
  head[little ? "writeBigUInt64LE" : "writeBigUInt64BE"](BigInt(own.dev), 16);
  head[little ? "writeBigUInt64LE" : "writeBigUInt64BE"](BigInt(own.ino), 24);
  return Buffer.concat([head, key, variables, Buffer.from(configuration)]);
}

/** A connection to the agent's CNI socket. */
export class Launcher {
  readonly #socket: Socket;
  #heard = Buffer.alloc(0);
  #ended = false;
  #more: () => void = () => undefined;
  /** Names that it was asked to give (+) and take (-), and what it answers. */
  readonly names: string[] = [];
  errno = 0;

  private constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => undefined);
    socket.on("data", (chunk: Buffer) => {
      this.#heard = Buffer.concat([this.#heard, chunk]);
      this.#more();
    });
    socket.on("close", () => {
      this.#ended = true;
      this.#more();
    });
  }

  static async connect(path: string): Promise<Launcher> {
    const socket = connect(path);
    await once(socket, "connect");
    return new Launcher(socket);
  }

  /** Sends a whole request. */
  ask(words: Words): void {
    this.sandbox(words.sandbox);
    this.send(bytesOf(words));
  }
  /** Sends what comes first: a byte, with the open sandbox where there is one. */
  sandbox(fd?: number): void {
    if (fd === undefined) sendNow(this.#socket, Buffer.from("S"));
    else sendDescriptor(this.#socket, Buffer.from("S"), fd);
  }
  send(bytes: Buffer): void {
    this.#socket.write(bytes);
  }

  /** The agent's word: "A" with its half of the key, "D", or "" where it hung up. */
  async word(): Promise<{ word: string; key: Buffer }> {
    await this.#until(() => this.#heard.length >= 33 || this.#heard[0] === "D".charCodeAt(0));
    const word = this.#take(1).toString("latin1");
    return { word, key: word === "A" ? this.#take(32) : Buffer.alloc(0) };
  }

  /** The answer, with names given and taken before it; undefined where the agent hung up. `deliver`: the runtime has it. */
  async answer(deliver = true): Promise<{ exitCode: number; stdout: string } | undefined> {
    for (;;) {
      if (!(await this.#until(() => this.#heard.length >= 8))) return undefined;
      const [first, length] = [0, 4].map((at) => this.#heard[little ? "readUInt32LE" : "readUInt32BE"](at));
      await this.#until(() => this.#heard.length >= 8 + (length ?? 0));
      this.#take(8);
      const text = this.#take(length ?? 0).toString();
      if (first !== HOLD && first !== RELEASE) {
        if (deliver) this.#socket.write("K");
        return { exitCode: first ?? 0, stdout: text };
      }
      this.names.push(`${first === HOLD ? "+" : "-"}${text}`);
      const reply = Buffer.alloc(4);
      reply[little ? "writeUInt32LE" : "writeUInt32BE"](this.errno, 0);
      this.#socket.write(reply);
    }
  }

  /** Resolves when the agent has closed the connection. */
  async closed(): Promise<void> {
    await this.#until(() => false);
  }
  hangUp(): void {
    this.#socket.destroy();
  }

  #take(length: number): Buffer {
    const taken = this.#heard.subarray(0, length);
    this.#heard = this.#heard.subarray(length);
    return taken;
  }
  /** Whether it came true before the connection ended. */
  async #until(holds: () => boolean): Promise<boolean> {
    while (!holds()) {
      if (this.#ended) return false;
      await new Promise<void>((resolve) => (this.#more = resolve));
    }
    return true;
  }
}
