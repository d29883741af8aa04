/**
 * What the kernel's own flow tables (nf_flow_table) would save where there is no fast path: a connection that is established leaves routing, connection tracking and the hooks of
 * the packet filter out between a pod's device and the VXLAN device. Skylane makes none; here the table is put beside its own, on both nodes. ADR 39 has what was decided by it.
 */
import { Cluster } from "../simulator/cluster.ts";
import { type Measurement, native } from "../support/context.ts";
import type { Namespace } from "../support/namespace.ts";
import { checkMtu, inTurns, MODES, serve, skylane, WORDS } from "../support/paths.ts";
import { compared, type Row } from "../support/row.ts";

/** Devices between which connections are taken over: pods' host ends and VXLAN devices. */
const DEVICE = /^\d+: (sky[\w.]+)[@:]/gm;

/** Puts a flow table on a node. @throws Error as nft says it where the kernel has none */
function flowTable(node: Namespace): void {
  const devices = Array.from(node.exec("ip", "-o", "link").matchAll(DEVICE), ([, name]) => `"${name}"`);
  node.exec(
    "nft",
    `table inet flows {
  flowtable established { hook ingress priority filter; devices = { ${devices.join(", ")} }; }
  chain forward { type filter hook forward priority filter + 10; meta l4proto tcp flow add @established; }
}`,
  );
}

/** Why there are none; undefined where there are. */
function missingFlowTables(node: Namespace): string | undefined {
  try {
    node.exec("nft", "table inet trial { flowtable t { hook ingress priority filter; devices = { lo }; }; }");
    node.exec("nft", "delete table inet trial");
    return undefined;
  } catch (error) {
    return String((error as { stderr?: string }).stderr ?? error).split("\n", 1)[0];
  }
}

export const flowtable: Measurement = {
  name: "flowtable",
  title: "Flow tables of the kernel, in place of a fast path",
  async run(context) {
    const cluster = await Cluster.start(context, "embedded");
    const missing = missingFlowTables(cluster.ns);
    if (missing !== undefined) {
      context.say(`flow tables are left out, since this kernel has none: ${missing}`);
      return [];
    }
    const flow = native(context, "flow");
    const [tabled, plain] = [
      await skylane(context, cluster, { first: 11 }),
      await skylane(context, cluster, { first: 21 }),
    ];
    for (const path of [tabled, plain].flatMap(({ across, near }) => [across, near])) checkMtu(path);
    for (const { across } of [tabled, plain]) await serve(context, flow, across, MODES);
    for (const node of tabled.nodes) flowTable(node);
    const rows: Row[] = [];
    for (const where of ["across", "near"] as const) {
      const series = inTurns(flow, [tabled[where], plain[where]], MODES, context.quick ? 5 : 30);
      for (const mode of MODES) {
        const [ours = [], theirs = []] = series.get(mode) ?? [];
        const { measure, unit } = WORDS[mode];
        const place = where === "across" ? "across nodes" : "on one node";
        const head = { group: "flow tables", measure: `${measure} ${place} with a flow table`, unit };
        rows.push(compared(head, ours, "without it", theirs));
      }
    }
    return rows;
  },
};
