/**
 * The fast path (`fastPath: auto`), on the wire and beside the others of `traffic`: streams, requests of one byte, and new connections with a byte each way, whose
 * first and last packets go the ordinary path as ever. And between two pods of one node, beside the same without it.
 */
import { Cluster } from "../simulator/cluster.ts";
import { type Measurement, native } from "../support/context.ts";
import { bare, checkMtu, flannel, inTurns, type Mode, nodesOf, serve, skylane } from "../support/paths.ts";
import { compared, type Row } from "../support/row.ts";

const MODES = ["stream", "request", "exchange"] as const satisfies readonly Mode[];
const WORDS: Record<Mode, { measure: string; unit: "Gbit/s" | "1/s" }> = {
  stream: { measure: "TCP stream", unit: "Gbit/s" },
  request: { measure: "requests of 1 byte", unit: "1/s" },
  exchange: { measure: "new connections, a byte each way", unit: "1/s" },
};
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
    const across = [
      fast.across,
      slow.across,
      flannel(context, ...nodesOf(cluster, 13), true),
      bare(...nodesOf(cluster, 15)),
    ];
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
    return rows;
  },
};
