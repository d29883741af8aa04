/** A program that says a first line when it is ready, goes on until its input ends, and then says the rest. */
import { spawn } from "node:child_process";
import { CommandError } from "../../command.ts";
import type { Running } from "./both.ts";

const MOST_BYTES = 4 << 20;
const MOST_COMPLAINTS = 8_192;
/** How long it may take to be ready, and to end once its input has, in milliseconds. */
const PATIENCE_MS = 60_000;

/** Starts it and waits for its first line. It ends with this process, whose end is the end of its input. @throws CommandError when it ends before, or takes too long */
export function startRunning([program = "", ...args]: readonly string[], env?: NodeJS.ProcessEnv): Promise<Running> {
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"], env });
  let [stdout, stderr] = ["", ""];
  let stopped: string | undefined;
  const stop = (why: string): void => {
    stopped ??= why;
    child.kill("SIGKILL");
  };
  const inTime = (): NodeJS.Timeout => setTimeout(() => stop(`nothing came within ${PATIENCE_MS} ms`), PATIENCE_MS);
  let timer = inTime();
  // One that has ended reads nothing more; how it ended says why.
  child.stdin.on("error", () => undefined);
  child.stderr.setEncoding("utf8").on("data", (text: string) => (stderr = (stderr + text).slice(0, MOST_COMPLAINTS)));
  const ended = new Promise<void>((resolve, reject) => {
    const fail = (why: string, cause?: unknown): void => reject(new CommandError(why, { cause }));
    child.once("error", (cause) => fail(`${program} cannot be run`, cause));
    child.once("close", (status) => {
      clearTimeout(timer);
      if (stopped !== undefined) fail(stopped);
      else if (status === 0) resolve();
      else fail(stderr.trim() || `it ended with status ${status ?? "unknown"}`);
    });
  });
  return new Promise((resolve, reject) => {
    ended.then(() => reject(new CommandError("it ended before it was ready")), reject);
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const first = !stdout.includes("\n");
      stdout += text;
      if (stdout.length > MOST_BYTES) stop(`more than ${MOST_BYTES} bytes`);
      if (!first || !stdout.includes("\n")) return;
      clearTimeout(timer);
      resolve({
        async finish() {
          timer = inTime();
          child.stdin.end();
          await ended;
          return stdout.slice(stdout.indexOf("\n") + 1);
        },
      });
    });
  });
}
