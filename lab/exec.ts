/**
 * Runs programs to their end, also inside another process's namespaces. Arrays of arguments all the way: nothing
 * here ever meets a shell.
 */
import { execFile, spawn } from "node:child_process";

/** What a program left behind. */
export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

/** How to run it. */
export interface RunOptions {
  /** Written to its stdin. */
  input?: string;
  env?: NodeJS.ProcessEnv;
  /** It is killed after that many milliseconds (120,000 by default); its status is then -1. */
  timeoutMs?: number;
  signal?: AbortSignal | undefined;
}

/** Which namespaces to enter: of a process (its network alone, or all that make a node), or a network by path. */
export interface Inside {
  pid?: number;
  /** Enter mount, UTS, IPC and PID namespaces too. */
  whole?: boolean;
  /** A network namespace's path, in this process's sight. */
  netns?: string;
}

/** The command line that enters namespaces and becomes `command` there. */
export function entering(inside: Inside, command: string, args: readonly string[]): string[] {
  const { pid, whole, netns } = inside;
  return [
    "nsenter",
    ...(pid === undefined ? [] : [`--target=${pid}`]),
    netns === undefined ? "--net" : `--net=${netns}`,
    ...(whole ? ["--mount", "--pid", "--uts", "--ipc"] : []),
    "--",
    command,
    ...args,
  ];
}

/** Runs a program to its end and returns what it printed and its status; rejects only when it cannot be started. */
export function tryRun(argv: readonly string[], options: RunOptions = {}): Promise<Outcome> {
  const [command, ...args] = argv as [string, ...string[]];
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      args,
      {
        env: options.env,
        timeout: options.timeoutMs ?? 120_000,
        killSignal: "SIGKILL",
        maxBuffer: 1 << 28,
        signal: options.signal,
      },
      (error, stdout, stderr) => {
        if (error && typeof error.code === "string") {
          reject(new Error(`cannot run ${command}: ${error.message}`, { cause: error }));
          return;
        }
        const status = error ? (typeof error.code === "number" ? error.code : -1) : 0;
        resolve({ status, stdout, stderr: status === -1 && !stderr ? "killed" : stderr });
      },
    );
    // a program that ends without reading its input is no error of ours: its status says what happened
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.input ?? "");
  });
}

/** Runs a program to its end and returns what it printed. @throws Error with its command line and stderr when it fails */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<string> {
  const { status, stdout, stderr } = await tryRun(argv, options);
  if (status === 0) return stdout;
  const why = (stderr.trim() || stdout.trim() || "no output").slice(0, 2000);
  throw new Error(`${argv.join(" ")} failed (status ${status}): ${why}`);
}

/** Runs a program with this process's own terminal to its end; returns its exit status (128 + n for signal n). */
export function runAttached(argv: readonly string[], env?: NodeJS.ProcessEnv): Promise<number> {
  const [command, ...args] = argv as [string, ...string[]];
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { stdio: "inherit", env });
    // Ctrl-C reaches the program by itself; this process stays to report how it ended.
    const ignore = (): void => undefined;
    process.on("SIGINT", ignore);
    child.on("error", (cause) => reject(new Error(`cannot run ${command}: ${cause.message}`, { cause })));
    child.on("close", (status, signal) => {
      process.off("SIGINT", ignore);
      resolve(status ?? (signal === "SIGINT" ? 130 : 137));
    });
  });
}

/** Maps with at most `limit` calls running at once; results keep their order. The first failure is thrown once all have ended. */
export async function mapLimit<T, R>(
  items: readonly T[],
  limit: number,
  fn: (item: T, index: number) => Promise<R>,
): Promise<R[]> {
  const results: R[] = [];
  const failures: unknown[] = [];
  let next = 0;
  const worker = async (): Promise<void> => {
    while (next < items.length && failures.length === 0) {
      const i = next++;
      try {
        results[i] = await fn(items[i] as T, i);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(limit, items.length) }, worker));
  if (failures.length > 0) throw failures[0];
  return results;
}
