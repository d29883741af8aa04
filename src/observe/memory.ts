/**
 * Gives memory back that a burst of work has left. Reading thousands of Nodes, or hundreds that come and go, fills V8's
 * heap with what is garbage right afterwards, and a process that then does next to nothing never allocates enough for V8
 * to look at it again: at 5,000 nodes an agent kept 200 MB of which it used half. A DaemonSet pays that on every node, so
 * a heap that has grown is collected as soon as it no longer grows, when nothing is waited for: with thousands of Nodes
 * that stops the process for some 80 ms, so it is put off while there is work.
 */
import { performance } from "node:perf_hooks";
import { getHeapStatistics, setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { releaseFreed } from "../sys/index.ts";

/** How often the heap's size is looked at, in milliseconds: a matter of microseconds. */
const LOOK_MS = 2_000;
/** Growth since the last collection that is worth a pause, and growth between two looks that is none, in bytes. */
const WORTH_IT = 8 << 20;
const QUIET = 1 << 20;
/** A share of the time spent at work from which on somebody may be waiting for more of it. */
const BUSY = 0.02;
/** How often in a row a collection is put off for that: an agent that always has work gives memory back all the same. */
const PUT_OFF = 30;
/** How much the heap may grow before V8 looks for garbage by itself, once the start is over. */
const GROWTH_PERCENT = 25;

type Collect = (options: { type: "major"; execution: "sync"; flavor: "last-resort" }) => void;

/**
 * Looks at the heap from time to time; returns what ends it.
 * @param isStarting whether the agent still waits for what it begins with: between two parts of that there is little to do and nothing to give
 * back, since as much is needed for the next one
 */
export function returnMemory(isStarting: () => boolean): () => void {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as Collect;
  const size = (): number => getHeapStatistics().total_heap_size;
  let collected: number | undefined;
  let last = 0;
  let putOff = 0;
  let time = performance.eventLoopUtilization();
  const look = (): void => {
    const now = size();
    const quiet = now - last < QUIET;
    last = now;
    const { utilization } = performance.eventLoopUtilization(time);
    time = performance.eventLoopUtilization();
    if (!quiet || now < (collected ?? 0) + WORTH_IT) return;
    if ((utilization > BUSY || isStarting()) && putOff++ < PUT_OFF) return;
    putOff = 0;
    if (collected === undefined) setFlagsFromString(`--heap-growing-percent=${GROWTH_PERCENT}`);
    collect({ type: "major", execution: "sync", flavor: "last-resort" });
    releaseFreed();
    last = collected = size();
  };
  const timer = setInterval(look, LOOK_MS).unref();
  return () => clearInterval(timer);
}
