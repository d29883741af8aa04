/** Processes that are measured, and the ends of those that are not. */
import type { ChildProcess } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as pause } from "node:timers/promises";
import { type Context, ROOT } from "./context.ts";
import type { Namespace } from "./namespace.ts";

/** How many times as long everything may take on this machine, as for the tests. */
const PATIENCE = Number(process.env["SKYLANE_TEST_PATIENCE"] ?? 1);

/** Ends a process and waits for it. */
export async function ended(child: ChildProcess, signal: NodeJS.Signals): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const end = new Promise((resolve) => child.once("exit", resolve));
  child.kill(signal);
  await end;
}

/** A process of bench/simulator that says how it stands when it is asked. */
export interface Asked<T> {
  child: ChildProcess;
  /** A line of JSON for each line it gets. */
  sample: () => Promise<T>;
  /** Ends it as it ends by itself: nobody will ask again. */
  dismiss: () => void;
}

/** Runs a script of bench/simulator in a namespace, or where else somebody spawns it. @param args the script, from the repository's root, and what it is told */
export function asked<T>(context: Context, node: Pick<Namespace, "spawn">, ...args: [string, ...string[]]): Asked<T> {
  const [script, ...more] = args;
  const argv = ["--disable-warning=ExperimentalWarning", join(ROOT, script), ...more];
  const child = node.spawn(process.execPath, argv, { stdio: ["pipe", "pipe", "inherit"] });
  context.onEnd(() => void child.kill("SIGKILL"));
  const { stdin, stdout } = child;
  if (!stdin || !stdout) throw new Error("the process has no pipes");
  const lines = createInterface({ input: stdout })[Symbol.asyncIterator]();
  const sample = async (): Promise<T> => {
    stdin.write("\n");
    return JSON.parse(String((await lines.next()).value)) as T;
  };
  return { child, sample, dismiss: () => void stdin.end() };
}

/** Waits for something, looking often. @throws Error when it does not come */
export async function until<T>(what: string, timeoutMs: number, look: () => T | Promise<T>, everyMs = 20): Promise<T> {
  const longest = timeoutMs * PATIENCE;
  for (const start = performance.now(); ; await pause(everyMs)) {
    const found = await look();
    if (found) return found;
    if (performance.now() - start > longest) throw new Error(`after ${longest} ms: not yet so: ${what}`);
  }
}

/** Milliseconds of processor time that a process has used, ended threads included, in steps of 10. */
export function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8")
    .replace(/^.*\) /, "")
    .split(" ");
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** The same to the nanosecond, of the threads that it has now: for differences over a short time. */
export function fineCpuOf(pid: number): number {
  let sum = 0;
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    sum += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e6;
  }
  return sum;
}

/** Milliseconds for which the machine's processors have worked, for whomever, in steps of 10: user, nice, system, interrupts of both kinds (proc(5)). */
export function machineCpu(): number {
  const [line = ""] = readFileSync("/proc/stat", "utf8").split("\n", 1);
  const [, user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0] = line.split(/\s+/).map(Number);
  return (user + nice + system + irq + softirq) * 10;
}

/** Resident memory in MB (10⁶ bytes). */
export function memoryOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, "utf8")) ?? [];
  return (Number(kilobytes) * 1024) / 1e6;
}
