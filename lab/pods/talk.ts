/** Pods that talk: one answers TCP on a port, another asks it once, or keeps a connection up and sends on it. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { LabContext } from "../cluster/context.ts";
import type { PodRecord } from "../cluster/records.ts";
import { entering, run } from "../exec.ts";
import { podNetns } from "./pods.ts";

/** Answers on a port what it is told; says so once it does. */
const ANSWER = `
  const [port] = process.argv.slice(1);
  require("node:net").createServer((socket) => socket.on("error", () => {}).pipe(socket)).listen(Number(port), "::", () => console.log("ready"));
`;
/** Connects, and says what came of it: "answered", or why not. */
const ASK = `
  const [host, port, ms] = process.argv.slice(1);
  const socket = require("node:net").connect({ host, port: Number(port) });
  const say = (text) => { console.log(text); process.exit(); };
  setTimeout(say, Number(ms), "no answer");
  socket.on("error", ({ code }) => say(code === "ECONNREFUSED" ? "refused" : code));
  socket.on("connect", () => socket.write("hello"));
  socket.on("data", () => say("answered"));
`;
/** Connects, sends so many bytes and waits for as many. */
const STREAM = `
  const [host, port, ms, bytes] = process.argv.slice(1);
  const socket = require("node:net").connect({ host, port: Number(port) });
  const say = (text) => { console.log(text); process.exit(); };
  let left = Number(bytes);
  setTimeout(() => say("stalled with " + left + " bytes to come"), Number(ms));
  socket.on("error", ({ code }) => say(code));
  socket.on("connect", () => socket.write(Buffer.alloc(left)));
  socket.on("data", ({ length }) => (left -= length) > 0 || say("answered"));
`;
/** Connects and sends a line every 20 ms; says a line for each that comes back. */
const KEEP = `
  const [host, port] = process.argv.slice(1);
  const socket = require("node:net").connect({ host, port: Number(port) });
  socket.on("error", ({ code }) => { console.log(code); process.exit(1); });
  socket.on("data", (data) => { for (const _ of data) console.log("answer"); });
  socket.on("connect", () => setInterval(() => socket.write("."), 20));
`;

/** What came of asking. */
export type Answer = "answered" | "no answer" | "refused" | (string & {});

function start(lab: LabContext, pod: PodRecord, program: string, args: string[]): ChildProcess {
  const [command, ...rest] = entering({ netns: podNetns(lab, pod) }, process.execPath, ["-e", program, ...args]);
  return spawn(command as string, rest, { stdio: ["ignore", "pipe", "inherit"], env: lab.env });
}

/** A program in a pod that goes on until it is ended. */
export class Talk implements AsyncDisposable {
  readonly #child: ChildProcess;
  readonly #closed: Promise<unknown>;
  /** Lines that it has said. */
  lines = 0;
  #onLine = (): void => undefined;

  private constructor(child: ChildProcess) {
    this.#child = child;
    this.#closed = once(child, "close");
    createInterface({ input: child.stdout as NodeJS.ReadableStream }).on("line", () => {
      this.lines++;
      this.#onLine();
    });
  }

  /** Has a pod answer on a TCP port. @throws Error when it cannot */
  static async answering(lab: LabContext, pod: PodRecord, port: number): Promise<Talk> {
    const talk = new Talk(start(lab, pod, ANSWER, [String(port)]));
    await talk.nextLine();
    return talk;
  }

  /** Has a pod keep a connection to an address. @throws Error when there is no answer */
  static async connected(lab: LabContext, pod: PodRecord, ip: string, port: number): Promise<Talk> {
    const talk = new Talk(start(lab, pod, KEEP, [ip, String(port)]));
    await talk.nextLine();
    return talk;
  }

  /** Resolves with the next line. @throws Error when the program ends before */
  async nextLine(): Promise<void> {
    const line = new Promise<void>((resolve) => (this.#onLine = resolve));
    await Promise.race([line, this.#closed.then(() => Promise.reject(new Error("a program in a pod has ended")))]);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#closed;
  }
}

/** Connects once from a pod to an address, and waits at most so many milliseconds for an answer. */
export async function ask(lab: LabContext, from: PodRecord, ip: string, port: number, ms = 1000): Promise<Answer> {
  const argv = entering({ netns: podNetns(lab, from) }, process.execPath, ["-e", ASK, ip, String(port), String(ms)]);
  return (await run(argv, { env: lab.env })).trim();
}

/** The same with so many bytes there and back, in full segments. */
export async function stream(
  lab: LabContext,
  from: PodRecord,
  ip: string,
  port: number,
  { bytes, ms }: { bytes: number; ms: number },
): Promise<Answer> {
  const program = ["-e", STREAM, ip, String(port), String(ms), String(bytes)];
  return (await run(entering({ netns: podNetns(lab, from) }, process.execPath, program), { env: lab.env })).trim();
}
