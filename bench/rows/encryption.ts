/**
 * What encryption costs, between pods of two nodes: streams, requests of one byte, and the processor time of the whole machine for each. Beside Skylane with
 * `encryption: wireguard`, each on two nodes of its own: the same without it, flannel with its backend wireguard, WireGuard between two nodes without pods, and
 * a VXLAN device without either. Each has the MTU that it makes of a wire of 1500.
 *
 * Processor time is what /proc/stat counts of all processors over a slice, less what it counts over one of the same length in which nobody sends: agents, the
 * API server and what else the machine does. WireGuard works on all processors, so the time of both ends' processes would leave most of it out.
 */
import { execFileSync } from "node:child_process";
import { Wireguard } from "../../src/netlink/index.ts";
import { Cluster } from "../simulator/cluster.ts";
import { type Measurement, native } from "../support/context.ts";
import { bare, counted, flannel, type Mode, nodesOf, type Path, serve, skylane } from "../support/paths.ts";
import { machineCpu } from "../support/process.ts";
import { compared, type Row, type Unit } from "../support/row.ts";
import { bareWireguard, flannelWireguard } from "../support/wireguard.ts";

const MODES = ["stream", "request"] as const satisfies readonly Mode[];
const SLICE_MS = 1_000;
const WORDS: Record<(typeof MODES)[number], { rate: string; unit: Unit; cost: string; costUnit: Unit }> = {
  stream: {
    rate: "TCP stream across nodes",
    unit: "Gbit/s",
    cost: "processor time of a stream",
    costUnit: "s/GB",
  },
  request: {
    rate: "requests of 1 byte across nodes",
    unit: "1/s",
    cost: "processor time of a request",
    costUnit: "ms",
  },
};

/** Milliseconds of the machine's processors that something takes. */
function worked(what: () => void): number {
  const before = machineCpu();
  what();
  return machineCpu() - before;
}

/** A slice of one path: how much a second, and processor time of each. */
function slice(flow: string, path: Path, mode: (typeof MODES)[number], idle: number): { rate: number; cost: number } {
  let [count, ns] = [0, 1];
  const cpu = worked(() => ({ count, ns } = counted(flow, path, mode, SLICE_MS))) - (idle * ns) / (SLICE_MS * 1e6);
  // Milliseconds a request; seconds a gigabyte, which are milliseconds a megabyte.
  return mode === "stream"
    ? { rate: (count * 8) / ns, cost: (cpu * 1e6) / count }
    : { rate: (count / ns) * 1e9, cost: cpu / count };
}

export const encryption: Measurement = {
  name: "encryption",
  title: "Encryption between nodes",
  async run(context) {
    const known = (): boolean => {
      using wireguard = Wireguard.open();
      return wireguard.known;
    };
    if (!known()) {
      context.say("encryption is left out: this kernel has no WireGuard");
      return [];
    }
    const cluster = await Cluster.start(context, "embedded");
    const flow = native(context, "flow");
    const paths = [
      (await skylane(context, cluster, { first: 11, encryption: "wireguard" })).across,
      (await skylane(context, cluster, { first: 21 })).across,
      flannelWireguard(context, ...nodesOf(cluster, 13)),
      flannel(context, ...nodesOf(cluster, 23), true),
      bareWireguard(...nodesOf(cluster, 15)),
      bare(...nodesOf(cluster, 17)),
    ];
    for (const path of paths) await serve(context, flow, path, MODES);
    const series = new Map(
      MODES.map((mode) => [mode, paths.map(() => ({ rates: [] as number[], costs: [] as number[] }))]),
    );
    for (let round = -1; round < (context.quick ? 3 : 12); round++) {
      const seconds = String(SLICE_MS / 1e3);
      const idle = worked(() => execFileSync("nsenter", [`--net=${cluster.ns.path}`, "--", "sleep", seconds]));
      // The order turns round, so that none always comes after the same other.
      for (const mode of MODES)
        for (let turn = 0; turn < paths.length; turn++) {
          const at = (turn + round + paths.length) % paths.length;
          const { rate, cost } = slice(flow, paths[at] as Path, mode, idle);
          if (round < 0) continue;
          series.get(mode)?.[at]?.rates.push(rate);
          series.get(mode)?.[at]?.costs.push(cost);
        }
    }
    return MODES.flatMap((mode) => {
      const { rate, unit, cost, costUnit } = WORDS[mode];
      const [ours, ...others] = series.get(mode) ?? [];
      return others.flatMap((theirs, at): Row[] => {
        const peer = at === 0 ? "without encryption" : (paths[at + 1]?.name ?? "");
        const head = { group: "encryption" } as const;
        return [
          compared({ ...head, measure: rate, unit }, ours?.rates ?? [], peer, theirs.rates),
          compared({ ...head, measure: cost, unit: costUnit }, ours?.costs ?? [], peer, theirs.costs),
        ];
      });
    });
  },
};
