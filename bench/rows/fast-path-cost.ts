/** What the fast path costs an agent: at its start, in memory, and in a pod's ADD; two agents in turns, one with it and one without. */
import { setTimeout as pause } from "node:timers/promises";
import type { BenchAgent } from "../simulator/agent.ts";
import type { Context } from "../support/context.ts";
import { served } from "../support/contestants.ts";
import { until } from "../support/process.ts";
import { alone, compared, type Row, type Target, type Unit } from "../support/row.ts";
import { rounds as verbRounds } from "./cni.ts";

/** Pods before the first that is measured: the verbs, and what follows each pod, are compiled while they are used. */
const FIRST_PODS = 100;
/** A start is over when the memory that it left has been collected, too. */
const SETTLED_MS = 15_000;

/** Milliseconds from a process's start to the moment from which it is ready; from then on pods can have all that they need. */
async function startOf(agent: BenchAgent): Promise<number> {
  await agent.stop("SIGKILL");
  agent.forget();
  const start = agent.start();
  await agent.ready();
  return Number(process.hrtime.bigint() - start) / 1e6;
}

/** How much more the first needs in each round. */
const differences = (with_: readonly number[], without: readonly number[]): number[] =>
  with_.map((value, at) => value - (without[at] ?? 0));

/** Rows of the start, the memory, and ADD. */
export async function fastPathCost(context: Context): Promise<Row[]> {
  const [fast, slow] = [
    await served(context, "fast", { fastPath: "auto" }),
    await served(context, "slow", { fastPath: "off" }),
  ];
  const isOn = (): Promise<unknown> =>
    until("the fast path", 20_000, () => fast.agent.log.includes("the fast path is on"));
  await isOn();
  await verbRounds(context, [fast, slow], context.quick ? 10 : FIRST_PODS);
  const times = await verbRounds(context, [fast, slow], context.quick ? 15 : 60);
  const [ours = [], theirs = []] = [fast, slow].map((who) => times.get(who)?.ADD.map(({ wall }) => wall));
  const starts: [number[], number[]] = [[], []];
  const memory: [number[], number[]] = [[], []];
  for (let round = 0; round < (context.quick ? 1 : 5); round++) {
    for (const [at, { agent }] of [fast, slow].entries()) starts[at]?.push(await startOf(agent));
    await isOn();
    await pause(context.quick ? 0 : SETTLED_MS);
    for (const [at, { agent }] of [fast, slow].entries()) memory[at]?.push(agent.memory);
  }
  const row = (measure: string, unit: Unit, [more, less]: [number[], number[]], target: Target): Row =>
    alone({ group: "fast path", measure, unit, ...(!context.quick && { target }) }, differences(more, less));
  return [
    compared(
      { group: "fast path", measure: "ADD by the agent", unit: "ms", target: { of: "ratio", atMost: 1.05 } },
      ours,
      "without it",
      theirs,
    ),
    row("process start to ready, more than without it", "ms", starts, { of: "value", atMost: 60 }),
    row("resident memory, more than without it", "MB", memory, { of: "value", atMost: 4 }),
  ];
}
