/**
 * Starts the lab's long-lived processes: each in a session of its own, so that a Ctrl-C for the command that started
 * it does not reach it, with its output in a file and a channel to it that lasts until it stands on its own feet.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { closeSync, existsSync, openSync, readFileSync } from "node:fs";
import type { LabContext, Remember } from "./context.ts";
import { processId } from "./processes.ts";

const LAST_LINES = 5;

/** A process that is being started. */
export class Starting<To extends object, From extends object> {
  readonly child: ChildProcess;
  readonly #name: string;
  readonly #logFile: string;
  #received: From[] = [];
  #waiting: { resolve(message: From): void; reject(error: Error): void } | undefined;
  #failure: Error | undefined;

  constructor(lab: LabContext, name: string, argv: readonly string[], remember: Remember) {
    this.#name = name;
    this.#logFile = lab.files.path("log", `${name}.log`);
    const [command, ...args] = argv as [string, ...string[]];
    const output = openSync(this.#logFile, "a", 0o600);
    const stdio = ["ignore" as const, output, output, "ipc" as const];
    this.child = spawn(command, args, { detached: true, stdio, env: lab.env, cwd: "/" });
    closeSync(output);
    const found = this.child.pid === undefined ? undefined : processId(this.child.pid);
    if (found) remember(found);
    this.child.on("message", (message) => {
      if (this.#waiting) this.#waiting.resolve(message as From);
      else this.#received.push(message as From);
      this.#waiting = undefined;
    });
    this.child.once("error", (cause) => this.#fail(new Error(`cannot run ${command}: ${cause.message}`, { cause })));
    this.child.once("exit", (status, signal) => this.#fail(new Error(this.#lastWords(signal ?? `status ${status}`))));
  }

  #fail(error: Error): void {
    this.#failure ??= error;
    this.#waiting?.reject(this.#failure);
    this.#waiting = undefined;
  }

  #lastWords(how: string): string {
    // a lab that is being taken down has no log any more
    const log = existsSync(this.#logFile) ? readFileSync(this.#logFile, "utf8") : "";
    const lines = log.trim().split("\n").slice(-LAST_LINES).join("\n");
    return `${this.#name} ended while starting (${how}); its last words in ${this.#logFile}:\n${lines}`;
  }

  /** Tells the process something. */
  tell(message: To): void {
    this.child.send(message, (error) => {
      if (error) this.#fail(error);
    });
  }

  /** The next thing that it says. @throws Error when it ends instead, or says nothing within `timeoutMs` */
  async next(timeoutMs = 120_000): Promise<From> {
    const early = this.#received.shift();
    if (early) return early;
    if (this.#failure) throw this.#failure;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<From>((resolve, reject) => {
        this.#waiting = { resolve, reject };
        timer = setTimeout(() => reject(new Error(`${this.#name} does not start within ${timeoutMs} ms`)), timeoutMs);
      });
    } finally {
      clearTimeout(timer);
    }
  }

  /** Lets it live on by itself; how it ends is no longer this object's concern. */
  release(): void {
    this.child.removeAllListeners();
    this.child.disconnect();
    this.child.unref();
  }
}
