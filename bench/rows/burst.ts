/**
 * Many pods at once: how many a second are added and deleted, and whether the agent still has time for everything else
 * meanwhile.
 */
import { setTimeout as pause } from "node:timers/promises";
import { type Contestant, reference, served } from "../support/contestants.ts";
import { type Context, type Measurement, native } from "../support/context.ts";
import { namespace } from "../support/namespace.ts";
import { type Call, runCalls } from "../support/plugins.ts";
import { alone, compared } from "../support/row.ts";

/** Pods a second of ADD and of DEL. */
async function rates(
  meter: string,
  { path, config, node }: Contestant,
  pods: readonly string[],
  atATime: number,
): Promise<[add: number, del: number]> {
  const calls = (command: Call["command"]): Call[] =>
    pods.map((netns, at) => ({ path, command, containerId: `burst${at}`, netns, config }));
  const added = await runCalls(meter, node, calls("ADD"), atATime);
  const deleted = await runCalls(meter, node, calls("DEL"), atATime);
  return [(pods.length / added.all) * 1000, (pods.length / deleted.all) * 1000];
}

export const burst: Measurement = {
  name: "burst",
  title: "Many pods at once",
  async run(context: Context) {
    const meter = native(context, "meter");
    const ours = await served(context);
    const ptp = reference(context, "ptp");
    const count = context.quick ? 40 : 200;
    context.say(`${count} pods, 16 at a time`);
    const pods = Array.from({ length: count }, (_, at) => namespace(context, `p${at}`).path);
    const series: Record<"add" | "del", [number[], number[]]> = { add: [[], []], del: [[], []] };
    for (let round = 0; round < (context.quick ? 1 : 5); round++) {
      for (const [at, who] of [ours, ptp].entries()) {
        const [add, del] = await rates(meter, who, pods, 16);
        series.add[at]?.push(add);
        series.del[at]?.push(del);
      }
    }
    context.say("32 pods at once, and probes of the agent meanwhile");
    const longest: number[] = [];
    for (let round = 0; round < (context.quick ? 3 : 20); round++) {
      const end = new AbortController();
      const burst = rates(meter, ours, pods.slice(0, 32), 32).finally(() => end.abort());
      let worst = 0;
      while (!end.signal.aborted) {
        const start = performance.now();
        await ours.agent.get("/healthz");
        worst = Math.max(worst, performance.now() - start);
        await pause(2);
      }
      await burst;
      longest.push(worst);
    }
    const head = (verb: string) => ({
      group: "burst",
      measure: `${count} pods, 16 at a time: ${verb}`,
      unit: "1/s" as const,
      target: { of: "ratio" as const, atLeast: 3 },
    });
    return [
      compared(head("ADD"), series.add[0], ptp.name, series.add[1]),
      compared(head("DEL"), series.del[0], ptp.name, series.del[1]),
      alone(
        {
          group: "burst",
          measure: "32 pods at once: the longest that a probe of the agent waited",
          unit: "ms",
          target: { of: "value", atMost: 50 },
        },
        longest,
      ),
    ];
  },
};
