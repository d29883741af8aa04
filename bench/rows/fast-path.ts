/**
 * The fast path (`fastPath: auto`), on the wire and beside the others of `traffic`: streams, requests of one byte, and new connections with a byte each way, whose
 * first and last packets go the ordinary path as ever. Between two pods of one node, beside the same without it. Then what else there is: IPv6, many peers and pods
 * in the maps, and what an agent pays for it. Through a ClusterIP: cluster-ip.ts.
 */
import { Cluster } from "../simulator/cluster.ts";
import { type Context, type Measurement, native } from "../support/context.ts";
import {
  bare,
  checkMtu,
  flannel,
  inTurns,
  MODES,
  type Mode,
  nodesOf,
  type Path,
  serve,
  skylane,
  toAddress,
  WORDS,
} from "../support/paths.ts";
import { until } from "../support/process.ts";
import { compared, type Row } from "../support/row.ts";
import { fastPathCost } from "./fast-path-cost.ts";

/** The least of flannel's, of a bare VXLAN's, and on one node of the ordinary path's. */
const TARGETS: Record<Mode, { flannel: number; bare?: number; near?: number }> = {
  stream: { flannel: 1.45, bare: 0.98, near: 1.25 },
  request: { flannel: 1.45, bare: 0.98, near: 1.2 },
  exchange: { flannel: 1.3 },
};

export const fastPath: Measurement = {
  name: "fast-path",
  title: "The fast path",
  async run(context) {
    const cluster = await Cluster.start(context, "embedded");
    const flow = native(context, "flow");
    const fast = await skylane(context, cluster, { first: 11, fastPath: "auto" });
    const slow = await skylane(context, cluster, { first: 21 });
    const [flannelNodes, flannelOctets] = nodesOf(cluster, 13);
    const across = [
      fast.across,
      slow.across,
      flannel(context, flannelNodes, flannelOctets, true),
      bare(...nodesOf(cluster, 15)),
    ] as const;
    for (const path of across) {
      checkMtu(path);
      await serve(context, flow, path, MODES);
    }
    const rounds = context.quick ? 5 : 40;
    const far = inTurns(flow, across, MODES, rounds);
    const near = inTurns(flow, [fast.near, slow.near], MODES, rounds);
    const rows: Row[] = [];
    const row = (mode: Mode, where: string, ours: number[], peer: string, theirs: number[], atLeast?: number): void => {
      const { measure, unit } = WORDS[mode];
      const target = atLeast !== undefined && { target: { of: "ratio" as const, atLeast } };
      rows.push(compared({ group: "fast path", measure: `${measure} ${where}`, unit, ...target }, ours, peer, theirs));
    };
    for (const mode of MODES) {
      const [ours = [], ordinary = [], theirs = [], bare = []] = far.get(mode) ?? [];
      const targets = TARGETS[mode];
      row(mode, "across nodes", ours, "the ordinary path", ordinary);
      row(mode, "across nodes", ours, across[2]?.name ?? "", theirs, targets.flannel);
      row(mode, "across nodes", ours, across[3]?.name ?? "", bare, targets.bare);
      const [here = [], ordinaryHere = []] = near.get(mode) ?? [];
      row(mode, "on one node", here, "the ordinary path", ordinaryHere, targets.near);
    }
    const others = [across[2], across[3]] as const;
    const six = [fast.across6, slow.across6, toAddress(others[1], "fd99::2")];
    for (const path of six) await serve(context, flow, path, MODES);
    const far6 = inTurns(flow, six, MODES, rounds);
    for (const mode of MODES) {
      const [ours = [], ordinary = [], bare = []] = far6.get(mode) ?? [];
      row(mode, "across nodes, IPv6", ours, "the ordinary path", ordinary);
      row(mode, "across nodes, IPv6", ours, others[1].name, bare, TARGETS[mode].bare);
    }
    rows.push(await amongMany(context, flow, fast.across, rounds), ...(await fastPathCost(context)));
    return rows;
  },
};

/** Requests where maps have many entries, beside where they have few. */
async function amongMany(context: Context, flow: string, few: Path, rounds: number): Promise<Row> {
  const [peers, pods] = context.quick ? [200, 20] : [5_000, 250];
  const cluster = await Cluster.start(context, "embedded");
  const many = await skylane(context, cluster, { first: 31, fastPath: "auto", more: pods });
  await cluster.ask({ what: "put", from: 0, count: peers });
  const routes = (): number => many.nodes[0].exec("ip", "route", "show", "proto", "83").split("\n").length;
  await until(`routes to ${peers} peers`, 120_000, () => routes() > peers);
  await serve(context, flow, many.across, ["request"]);
  const [ours = [], theirs = []] = inTurns(flow, [many.across, few], ["request"], rounds).get("request") ?? [];
  const measure = `requests of 1 byte among ${peers} peers and ${pods} pods of a node`;
  const target = { target: { of: "ratio" as const, atLeast: 0.97 } };
  return compared({ group: "fast path", measure, unit: "1/s", ...target }, ours, "among 3 peers and 2 pods", theirs);
}
