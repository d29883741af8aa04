/**
 * Keeps one program running, as kubelet keeps a DaemonSet's container: started again when it ends, at once the
 * first time and then more and more slowly, until it has run for a while.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { openSync, closeSync } from "node:fs";

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
const STEADY_MS = 10_000;

/** What to run and where its output goes. */
export interface Program {
  argv: readonly string[];
  env: NodeJS.ProcessEnv;
  logFile: string;
  /** Told about every start and end, in words. */
  log: (text: string) => void;
}

export class Supervisor {
  readonly #program: Program;
  #child: ChildProcess | undefined;
  #timer: NodeJS.Timeout | undefined;
  #pause = FIRST_PAUSE_MS;
  #stopping = false;
  #ended: (() => void) | undefined;

  constructor(program: Program) {
    this.#program = program;
  }

  start(): void {
    this.#timer = undefined;
    const { argv, env, logFile, log } = this.#program;
    const [command, ...args] = argv as [string, ...string[]];
    const output = openSync(logFile, "a");
    const since = performance.now();
    const child = spawn(command, args, { stdio: ["ignore", output, output], env, cwd: "/" });
    closeSync(output);
    this.#child = child;
    let over = false;
    const end = (how: string): void => {
      if (over) return;
      over = true;
      this.#child = undefined;
      if (this.#stopping) {
        this.#ended?.();
        return;
      }
      if (performance.now() - since > STEADY_MS) this.#pause = FIRST_PAUSE_MS;
      log(`${command} ${how}; starting it again in ${this.#pause} ms`);
      this.#timer = setTimeout(() => this.start(), this.#pause);
      this.#pause = Math.min(LONGEST_PAUSE_MS, this.#pause * 2);
    };
    child.once("error", (error) => end(`could not be started (${error.message})`));
    child.once("exit", (status, signal) => end(signal ? `was ended by ${signal}` : `ended with status ${status}`));
  }

  /** Ends the program for good: SIGTERM, and SIGKILL after `graceMs`. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping = true;
    clearTimeout(this.#timer);
    const child = this.#child;
    if (!child) return;
    await new Promise<void>((resolve) => {
      this.#ended = resolve;
      const hard = setTimeout(() => child.kill("SIGKILL"), graceMs);
      child.once("exit", () => clearTimeout(hard));
      child.kill("SIGTERM");
    });
  }
}
