/**
 * Pod to pod across nodes: a TCP stream, and requests of one byte. Ours is the whole product: two agents, pods made by the
 * plugin, the firewall in place. Beside it, on the same wire and in turns, each on two nodes of its own:
 *
 * - flannel: its layout as iproute2 makes it (pods on a bridge, a VXLAN device with onlink routes) and the rules that it
 *   installs unless told otherwise (--ip-masq in its manifest), as its nftables mode writes them, the cheaper of its two.
 *   They make the kernel track connections, as ours do, and as kube-proxy's do in any cluster.
 * - the same layout without any rule: nobody runs that, since its pods could not leave the cluster.
 * - a VXLAN device between two nodes with nothing behind it: no pods.
 */
import type { Measurement } from "../support/context.ts";
import { native } from "../support/context.ts";
import { Cluster } from "../simulator/cluster.ts";
import { bare, checkMtu, flannel, inTurns, type Mode, nodesOf, serve, skylane } from "../support/paths.ts";
import { compared, type Row } from "../support/row.ts";

const MODES = ["stream", "request"] as const satisfies readonly Mode[];

export const traffic: Measurement = {
  name: "traffic",
  title: "Pod to pod across nodes",
  async run(context) {
    const cluster = await Cluster.start(context, "embedded");
    const flow = native(context, "flow");
    const paths = [
      (await skylane(context, cluster, { first: 11 })).across,
      flannel(context, ...nodesOf(cluster, 13), true),
      flannel(context, ...nodesOf(cluster, 15), false),
      bare(...nodesOf(cluster, 17)),
    ];
    for (const path of paths) {
      checkMtu(path);
      await serve(context, flow, path, MODES);
    }
    const series = inTurns(flow, paths, MODES, context.quick ? 5 : 40);
    const rows: Row[] = [];
    for (const mode of MODES) {
      const of = series.get(mode) ?? [];
      for (const [at, atLeast] of [[1, 1] as const, [2, undefined] as const, [3, 0.95] as const]) {
        const measure = mode === "stream" ? "TCP stream across nodes" : "requests of 1 byte across nodes";
        const unit = mode === "stream" ? ("Gbit/s" as const) : ("1/s" as const);
        const target = atLeast !== undefined && { target: { of: "ratio" as const, atLeast } };
        const head = { group: "traffic", measure, unit, ...target };
        rows.push(compared(head, of[0] ?? [], paths[at]?.name ?? "", of[at] ?? []));
      }
    }
    return rows;
  },
};
