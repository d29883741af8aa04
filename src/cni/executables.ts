/**
 * Other plugins' executables: found in the runtime's directories as libcni finds them, and run as one process without a shell,
 * with a limit on time and output.
 */
import type * as ChildProcess from "node:child_process";
import { accessSync, constants, statSync } from "node:fs";
import { delimiter, join } from "node:path";
import type { Environment } from "./spec/environment.ts";

/** Most that is read of a plugin's output, in bytes. */
const MAX_OUTPUT = 1024 * 1024;

/** The first executable of that name in directories as CNI_PATH has them; undefined where there is none. */
export function findExecutable(type: string, path: string): string | undefined {
  for (const dir of path.split(delimiter)) {
    const file = join(dir, type);
    try {
      accessSync(file, constants.X_OK);
      if (dir !== "" && statSync(file).isFile()) return file;
    } catch {
      // not in this directory, or not ours to run: the next one may have it
    }
  }
  return undefined;
}

/** What a plugin's process left. */
export interface Finished {
  status: number | null;
  signal: string | null;
  stdout: string;
  stderr: string;
}

/** Loaded only where it is used: it takes 8 ms of a start that is 30 ms otherwise. */
const childProcess = (): typeof ChildProcess => process.getBuiltinModule("node:child_process");

/** Runs a plugin to its end. Rejects when it cannot be started, takes too long or says too much. */
export function runPlugin(file: string, env: Environment, stdin: string, timeoutMs: number): Promise<Finished> {
  return new Promise((resolve, reject) => {
    const child = childProcess().spawn(file, [], { env: { ...env }, stdio: ["pipe", "pipe", "pipe"], shell: false });
    const out: Buffer[] = [];
    const err: Buffer[] = [];
    let size = 0;
    // Its own children may hold the pipes open: they are not waited for.
    const giveUp = (why: string): void => {
      clearTimeout(timer);
      child.kill("SIGKILL");
      child.stdout.destroy();
      child.stderr.destroy();
      reject(new Error(why));
    };
    const timer = setTimeout(() => giveUp(`did not end within ${timeoutMs / 1000} s and was killed`), timeoutMs);
    const collect = (into: Buffer[]) => (chunk: Buffer) => {
      size += chunk.length;
      if (size > MAX_OUTPUT) giveUp(`wrote more than ${MAX_OUTPUT} bytes and was killed`);
      else into.push(chunk);
    };
    child.stdout.on("data", collect(out));
    child.stderr.on("data", collect(err));
    // A plugin may end without reading its configuration; its exit status and output say what came of it.
    child.stdin.on("error", () => undefined);
    child.on("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
    child.on("close", (status, signal) => {
      clearTimeout(timer);
      const text = (chunks: Buffer[]) => Buffer.concat(chunks).toString("utf8");
      resolve({ status, signal, stdout: text(out), stderr: text(err) });
    });
    child.stdin.end(stdin);
  });
}
