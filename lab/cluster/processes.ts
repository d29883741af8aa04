/**
 * The processes of a lab: who they are, and how to end them all and nobody else.
 *
 * Every process of a lab carries the run's random id in its environment, from before it exists to its end, and so
 * do all that it starts. That mark is what `down` goes by: it finds a process also when `up` was killed before it
 * could write down its id, and it can never match a stranger that was given a recycled id. For one process in
 * particular the id is written down together with its start time, which tells it from a later one.
 */
import { readdirSync, readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";

/** Name of the environment variable that marks a lab's processes. */
export const MARK = "SKYLANE_LAB_RUN";

/** A process beyond doubt. */
export interface ProcessId {
  pid: number;
  /** Start time in clock ticks after boot: /proc/PID/stat, field 22 (proc(5)). */
  started: number;
}

function readProc(path: string): string | undefined {
  try {
    return readFileSync(path, "latin1");
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === "ENOENT" || code === "ESRCH" || code === "EACCES" || code === "ENOTDIR") return undefined;
    throw error;
  }
}

/** State letter and start time; the name before them may hold spaces and brackets. */
function stat(pid: number): { state: string; started: number; parent: number } | undefined {
  const text = readProc(`/proc/${pid}/stat`);
  if (text === undefined) return undefined;
  const fields = text.slice(text.lastIndexOf(")") + 2).split(" ");
  return { state: fields[0] as string, parent: Number(fields[1]), started: Number(fields[19]) };
}

/** Identifies a running process; undefined when there is none of that id. */
export function processId(pid: number): ProcessId | undefined {
  const found = stat(pid);
  return found && found.state !== "Z" ? { pid, started: found.started } : undefined;
}

/** Whether that very process still runs. */
export function isRunning(id: ProcessId): boolean {
  return processId(id.pid)?.started === id.started;
}

/** Sends a signal to that very process; false when it is gone. */
export function signal(id: ProcessId, name: NodeJS.Signals): boolean {
  if (!isRunning(id)) return false;
  try {
    return process.kill(id.pid, name);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ESRCH") return false;
    throw error;
  }
}

/** Children of a process, in its order of starting them. */
export function childrenOf(pid: number): number[] {
  const text = readProc(`/proc/${pid}/task/${pid}/children`);
  return (text ?? "").split(" ").filter(Boolean).map(Number);
}

/** All processes whose environment carries a run's mark, this process excepted. */
export function markedProcesses(runId: string): ProcessId[] {
  const needle = `${MARK}=${runId}`;
  const found: ProcessId[] = [];
  for (const entry of readdirSync("/proc")) {
    const pid = Number(entry);
    if (!Number.isInteger(pid) || pid === process.pid) continue;
    const before = processId(pid);
    if (before && (readProc(`/proc/${pid}/environ`) ?? "").split("\0").includes(needle)) found.push(before);
  }
  return found;
}

/** Waits until that very process has ended. @throws Error when it has not within `timeoutMs` */
export async function ended(id: ProcessId, timeoutMs = 5000): Promise<void> {
  const end = performance.now() + timeoutMs;
  // Not our child as a rule, so the kernel sends us nothing when it ends.
  while (isRunning(id)) {
    if (performance.now() > end) throw new Error(`process ${id.pid} did not end within ${timeoutMs} ms`);
    await delay(5);
  }
}

/**
 * Kills every process that carries a run's mark and waits until none is left, also of those that were being started
 * meanwhile. Returns how many there were. @throws Error when some survive ten seconds (uninterruptible in the kernel)
 */
export async function killMarked(runId: string): Promise<number> {
  const killed = new Set<number>();
  const end = performance.now() + 10_000;
  for (;;) {
    const left = markedProcesses(runId);
    if (left.length === 0) return killed.size;
    for (const id of left) {
      killed.add(id.pid);
      signal(id, "SIGKILL");
    }
    if (performance.now() > end)
      throw new Error(
        `processes ${left.map(({ pid }) => pid).join(", ")} do not end after SIGKILL; see /proc/PID/stack`,
      );
    await Promise.all(left.map((id) => ended(id, 10_000)));
  }
}
