/**
 * What it costs a node's connections that somebody listens to them (`flows: on`): new connections between two pods of a node, as many as there can be, on a node
 * that records flows and on one that does not, in turns. The connections' ends are remembered for a second in place of two minutes, so that as many end as begin.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { FlowsStatus } from "../../src/flows/index.ts";
import { type Context, type Measurement, native } from "../support/context.ts";
import type { Namespace } from "../support/namespace.ts";
import { measureFlow, nodeWithPods, serve } from "../support/pods.ts";
import { asked, memoryOf } from "../support/process.ts";
import { alone, compared, type Row } from "../support/row.ts";

const PORT = "5202";

interface Sample extends FlowsStatus {
  cpuMs: number;
}

/** Records flows in a process of its own. */
async function recorder(context: Context, node: Namespace): Promise<{ pid: number; sample: () => Promise<Sample> }> {
  const dir = mkdtempSync(join(tmpdir(), "skybench-flows-"));
  context.onEnd(() => rmSync(dir, { recursive: true, force: true }));
  const { child, sample } = asked<Sample>(context, node, "bench/simulator/flows-child.ts", join(dir, "before"));
  for (;;) {
    const { on, error } = await sample();
    if (error !== undefined) throw new Error(error);
    if (on) return { pid: child.pid as number, sample };
  }
}

export const flows: Measurement = {
  name: "flows",
  title: "New connections on a node that records flows",
  async run(context) {
    const flow = native(context, "flow");
    const nodes = [nodeWithPods(context, "on"), nodeWithPods(context, "off")];
    for (const { node, pods } of nodes) {
      node.exec("sysctl", "-qw", "net.netfilter.nf_conntrack_tcp_timeout_time_wait=1");
      await serve(context, flow, pods.server, "accept", PORT);
    }
    const [on] = nodes;
    if (!on) throw new Error("no node");
    const { pid, sample } = await recorder(context, on.node);
    const rates = nodes.map((): number[] => []);
    const rounds = context.quick ? 4 : 40;
    const measure = (client: Namespace): number => measureFlow(flow, client, "connect", PORT);
    for (let n = 0; n < 3; n++) for (const { pods } of nodes) measure(pods.client);
    const [before, memory, began] = [await sample(), memoryOf(pid), performance.now()];
    for (let round = 0; round < rounds; round++)
      for (const at of round % 2 === 0 ? [0, 1] : [1, 0])
        rates[at]?.push(measure((nodes[at] as (typeof nodes)[0]).pods.client));
    const after = await sample();
    const seconds = (performance.now() - began) / 1_000;
    const { sampled, leftOut } = after;
    const head = { group: "flows", unit: "1/s" as const };
    return [
      compared(
        {
          ...head,
          measure: "new connections between pods",
          target: { of: "ratio", atLeast: 0.97 },
          note: `read at the end: one in ${sampled}; left out: ${leftOut.sampled} by that, ${leftOut.dropped} for want of room`,
        },
        rates[0] ?? [],
        "no flows recorded",
        rates[1] ?? [],
      ),
      alone({ group: "flows", measure: "CPU of who records them, of a core", unit: "%" }, [
        ((after.cpuMs - before.cpuMs) / (seconds * 1_000)) * 100,
      ]),
      alone({ group: "flows", measure: "growth of its memory over the run", unit: "MB" }, [memoryOf(pid) - memory]),
    ] satisfies Row[];
  },
};
