/**
 * ADD and DEL of one pod at a time, against the reference plugins: by the agent that runs on every node, and by the plugin
 * alone, as it works while the agent is stopped. Pods' namespaces are there already, and the plugins take turns, so that
 * all of them see the same machine. IPv4 alone: with IPv6 the reference plugins wait for duplicate address
 * detection, for over a second, which would make any ratio look good.
 */
import { alone, type Contestant, reference, served } from "../support/contestants.ts";
import { type Context, type Measurement, native } from "../support/context.ts";
import { namespace } from "../support/namespace.ts";
import { type Call, type CallResult, runCalls } from "../support/plugins.ts";
import { alone as single, compared, type Row, type Target } from "../support/row.ts";

type Series = Map<Contestant, Record<"ADD" | "DEL", CallResult[]>>;

/**
 * Pods before the first round. An agent lives for weeks, and its verbs are compiled while they are used, so those of
 * its first pods, which are a row of their own, say little of all others'.
 */
const FIRST = 100;

/** Times of ADD of an agent's first pods. */
async function firstPods(context: Context, { path, config, node }: Contestant): Promise<number[]> {
  const netns = namespace(context, "first").path;
  const calls = Array.from({ length: FIRST }, (_, n) => ({ path, containerId: `first${n}`, netns, config })).flatMap(
    (pod): Call[] => [
      { ...pod, command: "ADD" },
      { ...pod, command: "DEL" },
    ],
  );
  const { results } = await runCalls(native(context, "meter"), node, calls);
  return results.filter((_, at) => calls[at]?.command === "ADD").map(({ wall }) => wall);
}

/** Times of every contestant in milliseconds, each round with a new pod for each. */
export async function rounds(context: Context, contestants: readonly Contestant[], count: number): Promise<Series> {
  const meter = native(context, "meter");
  const times: Series = new Map(contestants.map((one) => [one, { ADD: [], DEL: [] }]));
  const pods = contestants.map((_, at) => namespace(context, `pod${at}`).path);
  // the first two of each fill caches and make the bridge
  for (let round = -2; round < count; round++) {
    for (const [at, contestant] of contestants.entries()) {
      const { path, config, node } = contestant;
      const pod = { path, containerId: `round${round + 2}`, netns: pods[at] ?? "", config };
      const calls: [Call, Call] = [
        { ...pod, command: "ADD" },
        { ...pod, command: "DEL" },
      ];
      const { results } = await runCalls(meter, node, calls);
      for (const [verb, result] of results.entries())
        if (round >= 0) times.get(contestant)?.[calls[verb]?.command as "ADD" | "DEL"].push(result);
    }
  }
  return times;
}

export const cni: Measurement = {
  name: "cni",
  title: "A pod's ADD and DEL",
  async run(context) {
    const [agent, plugin] = [await served(context), alone(context)];
    const [bridge, ptp, masquerading] = [
      reference(context, "bridge"),
      reference(context, "ptp"),
      reference(context, "bridge", true),
    ];
    const count = context.quick ? 15 : 60;
    context.say(`${count} rounds of ADD and DEL with each plugin`);
    const first = await firstPods(context, agent);
    const times = await rounds(context, [agent, bridge, ptp, plugin, masquerading], count);
    const series = (who: Contestant, verb: "ADD" | "DEL", of: "wall" | "cpu"): number[] =>
      times.get(who)?.[verb].map((result) => result[of]) ?? [];
    const row = (
      who: Contestant,
      verb: "ADD" | "DEL",
      peer: Contestant,
      atMost?: number,
      of: "wall" | "cpu" = "wall",
    ): Row => {
      const measure = `${verb} ${who === agent ? "by the agent" : "stand-alone"}${of === "cpu" ? ", CPU time" : ""}`;
      const target: Target | undefined = atMost === undefined ? undefined : { of: "ratio", atMost };
      const head = { group: "cni", measure, unit: "ms" as const, ...(target && { target }) };
      return compared(head, series(who, verb, of), peer.name, series(peer, verb, of));
    };
    const meter = native(context, "meter");
    const status: Call = {
      path: agent.path,
      command: "STATUS",
      containerId: "",
      netns: "",
      config: { ...agent.config, cniVersion: "1.1.0" },
    };
    const { results } = await runCalls(
      meter,
      agent.node,
      Array.from({ length: count }, () => status),
    );
    return [
      row(agent, "ADD", bridge, 0.35),
      row(agent, "ADD", masquerading),
      row(agent, "ADD", ptp, 0.5),
      single({ group: "cni", measure: "ADD by the agent, its first 20 pods", unit: "ms" }, first.slice(0, 20)),
      row(agent, "DEL", bridge, 0.5),
      row(agent, "DEL", masquerading),
      row(agent, "DEL", ptp, 0.5),
      single(
        { group: "cni", measure: "STATUS by the agent", unit: "ms" },
        results.map(({ wall }) => wall),
      ),
      row(plugin, "ADD", bridge, 1.5),
      row(plugin, "ADD", masquerading),
      row(plugin, "DEL", bridge),
      row(plugin, "DEL", masquerading),
      row(plugin, "ADD", bridge, undefined, "cpu"),
      row(plugin, "DEL", bridge, undefined, "cpu"),
    ];
  },
};
