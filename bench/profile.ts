/**
 * `npm run profile`: where one agent's time and memory go. It starts the real agent among made-up Nodes, by itself, and says which
 * functions took how long from its start until it is ready and has settled, and what of its memory is heap, program and the rest.
 *
 *     npm run profile                            5,000 nodes
 *     npm run profile -- --nodes 100 --seconds 30
 *     npm run profile -- --heap                  and a heap snapshot, for the memory panel of a browser's developer tools
 */
import { mkdtempSync, readdirSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { parseArgs } from "node:util";
import { BenchAgent, RouteWatch } from "./simulator/agent.ts";
import { Cluster } from "./simulator/cluster.ts";
import { type Context, measured } from "./support/context.ts";
import { sweep } from "./support/namespace.ts";
import { until } from "./support/process.ts";

const OWN = { name: "profile", ip: "172.30.0.11", podCidr: "10.0.0.0/24" };
/** Functions that are listed. */
const LISTED = 25;
/** A heap of a hundred megabytes is written within this time. */
const SNAPSHOT_MS = 60_000;

/** As much of V8's profile as is read: https://chromedevtools.github.io/devtools-protocol/tot/Profiler/#type-Profile */
interface CpuProfile {
  nodes: { id: number; callFrame: { functionName: string; url: string; lineNumber: number }; children?: number[] }[];
  samples: number[];
  /** In microseconds. */
  timeDeltas: number[];
}

/** Milliseconds by function: in it alone, and with all that it called. Pure. */
export function timesOf({ nodes, samples, timeDeltas }: CpuProfile): { name: string; alone: number; all: number }[] {
  const own = new Map<number, number>();
  for (const [at, id] of samples.entries()) own.set(id, (own.get(id) ?? 0) + (timeDeltas[at] ?? 0) / 1_000);
  const parents = new Map(nodes.flatMap(({ id, children = [] }) => children.map((child) => [child, id] as const)));
  const names = new Map(
    nodes.map(({ id, callFrame: { functionName, url, lineNumber } }) => {
      const file = url.split("/").at(-1);
      return [id, `${functionName || "(anonymous)"} ${file ? `${file}:${lineNumber + 1}` : ""}`.trimEnd()];
    }),
  );
  const times = new Map<string, { alone: number; all: number }>();
  const of = (name: string): { alone: number; all: number } => {
    const known = times.get(name) ?? { alone: 0, all: 0 };
    times.set(name, known);
    return known;
  };
  for (const [id, time] of own) {
    of(names.get(id) ?? "").alone += time;
    const seen = new Set<string>();
    for (let at: number | undefined = id; at !== undefined; at = parents.get(at)) seen.add(names.get(at) ?? "");
    // one that calls itself counts once
    for (const name of seen) of(name).all += time;
  }
  return Array.from(times, ([name, { alone, all }]) => ({ name, alone, all }));
}

/** Megabytes that are resident, by what they are. */
function memoryOf(pid: number): [what: string, megabytes: number][] {
  const sums = new Map<string, number>();
  let what = "";
  for (const line of readFileSync(`/proc/${pid}/smaps`, "utf8").split("\n")) {
    const [, path] = /^[0-9a-f]+-[0-9a-f]+ \S+ \S+ \S+ \S+\s*(.*)$/.exec(line) ?? [];
    if (path !== undefined)
      what = path.endsWith("/node")
        ? "program"
        : path === ""
          ? "V8's heap"
          : path === "[heap]"
            ? "native heap"
            : "rest";
    const [, kilobytes] = /^Rss:\s+(\d+) kB/.exec(line) ?? [];
    if (kilobytes !== undefined) sums.set(what, (sums.get(what) ?? 0) + Number(kilobytes) / 1_024);
  }
  return [...sums].sort(([, a], [, b]) => b - a);
}

/** Prints the functions in which most time was spent. */
function print(profile: CpuProfile): void {
  const times = timesOf(profile);
  for (const [title, by] of [
    ["in the function itself", "alone"],
    ["with what it called", "all"],
  ] as const) {
    console.log(`\nms ${title}`);
    for (const one of times.toSorted((a, b) => b[by] - a[by]).slice(0, LISTED))
      console.log(`${one[by].toFixed(1).padStart(9)}  ${one.name}`);
  }
}

async function profile(context: Context, nodes: number, seconds: number, heap: boolean, out: string): Promise<void> {
  const cluster = await Cluster.start(context, "embedded");
  const machine = cluster.machine("agent", 11);
  const { kubeconfig } = cluster.files(join(context.dir, "access"));
  const options = ["--cpu-prof", `--cpu-prof-dir=${out}`, ...(heap ? ["--heapsnapshot-signal=SIGUSR2"] : [])];
  const agent = new BenchAgent(context, machine, { ...OWN, kubeconfig, nodeOptions: options, cwd: out });
  const routes = new RouteWatch(machine);
  context.onEnd(() => routes.close());
  await cluster.ask({ what: "own", ...OWN });
  context.say(`${nodes} nodes`);
  await cluster.ask({ what: "put", from: 0, count: nodes });
  const start = agent.start();
  await until(`${nodes} routes`, 120_000, () => routes.routes.size === nodes, 5);
  await agent.ready();
  const wall = Number(process.hrtime.bigint() - start) / 1e9;
  console.log(`ready after ${wall.toFixed(2)} s, ${(agent.cpu / 1_000).toFixed(2)} s of processor time`);
  await pause(seconds * 1_000);
  console.log(`settled after ${seconds} s more: ${agent.memory.toFixed(1)} MB resident`);
  for (const [what, megabytes] of memoryOf(agent.pid)) console.log(`${megabytes.toFixed(1).padStart(9)}  ${what}`);
  if (heap) {
    process.kill(agent.pid, "SIGUSR2");
    await until("the heap snapshot is there", SNAPSHOT_MS, () =>
      readdirSync(out).some((f) => f.endsWith(".heapsnapshot")),
    );
  }
  // The profile is written when it ends; a snapshot that is being written is finished first.
  await agent.stop("SIGTERM");
  const [file] = readdirSync(out).filter((name) => name.endsWith(".cpuprofile"));
  if (file === undefined) throw new Error("the agent has left no profile");
  print(JSON.parse(readFileSync(join(out, file), "utf8")) as CpuProfile);
  console.log(
    `\nfor a browser's developer tools: ${readdirSync(out)
      .map((name) => join(out, name))
      .join(", ")}`,
  );
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: { nodes: { type: "string" }, seconds: { type: "string" }, heap: { type: "boolean" } },
  });
  const [nodes, seconds] = [Number(values.nodes ?? 5_000), Number(values.seconds ?? 15)];
  if (!Number.isInteger(nodes) || nodes < 1 || nodes > 60_000 || !(seconds >= 0)) {
    console.error("usage: npm run profile -- [--nodes 1…60000] [--seconds N] [--heap]");
    process.exitCode = 2;
    return;
  }
  if (process.getuid?.() !== 0) throw new Error("network namespaces need root");
  sweep();
  const out = mkdtempSync(join(tmpdir(), "skylane-profile-"));
  const run = async (context: Context): Promise<[]> => {
    await profile(context, nodes, seconds, values.heap === true, out);
    return [];
  };
  const say = (text: string): void => console.error(`profile: ${text}`);
  await measured({ name: "profile", title: "", run }, { quick: false, say, failed: (error) => console.error(error) });
}

if (import.meta.main) await main();
