/**
 * `npm run bench`: everything that is claimed of Skylane's speed, measured side by side in one run.
 *
 *     npm run bench                              all of it, in about a quarter of an hour; writes results.md and the picture
 *     npm run bench -- quick                     the same with few samples, in under four: does everything run?
 *     npm run bench -- cni peers                 some measurements only
 *     npm run bench -- scale --nodes 5000        the simulator with so many nodes
 */
import { parseArgs } from "node:util";
import { bandwidth } from "./rows/bandwidth.ts";
import { bridged } from "./rows/bridged.ts";
import { burst } from "./rows/burst.ts";
import { clusterIp } from "./rows/cluster-ip.ts";
import { cni } from "./rows/cni.ts";
import { encryption } from "./rows/encryption.ts";
import { fastPath } from "./rows/fast-path.ts";
import { flowtable } from "./rows/flowtable.ts";
import { flows } from "./rows/flows.ts";
import { hostPorts } from "./rows/host-ports.ts";
import { map } from "./rows/map.ts";
import { peers } from "./rows/peers.ts";
import { policyAgent } from "./rows/policy/agent.ts";
import { policyChanges } from "./rows/policy/changes.ts";
import { policyTraffic } from "./rows/policy/traffic.ts";
import { probes } from "./rows/probes.ts";
import { scale, scaleReal } from "./rows/scale.ts";
import { traffic } from "./rows/traffic.ts";
import { type Measurement, measured } from "./support/context.ts";
import { sweep } from "./support/namespace.ts";
import { report } from "./support/report.ts";
import { met, type Row } from "./support/row.ts";
import { plainTable } from "./support/text.ts";

/** In the order of the report. One more measurement is one more entry. */
const MEASUREMENTS: readonly Measurement[] = [
  cni,
  burst,
  hostPorts,
  bandwidth,
  peers,
  bridged,
  traffic,
  fastPath,
  clusterIp,
  flowtable,
  encryption,
  policyTraffic,
  policyChanges,
  policyAgent,
  flows,
  probes,
  map,
  scale,
  scaleReal,
];

const names = MEASUREMENTS.map(({ name }) => name);
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { nodes: { type: "string" }, json: { type: "boolean" } },
});
const quick = positionals.includes("quick");
const asked = positionals.filter((word) => word !== "quick");
const unknown = asked.filter((word) => !names.includes(word));
const nodes = values.nodes === undefined ? undefined : Number(values.nodes);

if (unknown.length > 0 || (nodes !== undefined && !(Number.isInteger(nodes) && nodes >= 10 && nodes <= 60_000))) {
  console.error(`usage: npm run bench -- [quick] [${names.join("] [")}] [--nodes 10…60000] [--json]`);
  process.exitCode = 2;
} else if (process.getuid?.() !== 0) {
  console.error("bench: network namespaces need root");
  process.exitCode = 1;
} else {
  const rows: Row[] = [];
  const say = (text: string): void => console.error(`bench: ${text}`);
  const failed = (error: unknown): void => {
    console.error("bench: failed:", error);
    process.exitCode = 1;
  };
  sweep();
  const write = report();
  const start = performance.now();
  for (const measurement of MEASUREMENTS.filter(({ name }) => asked.length === 0 || asked.includes(name))) {
    say(measurement.title);
    try {
      const more = await measured(measurement, { quick, say, failed, nodes });
      rows.push(...more);
      if (!values.json && more.length > 0) console.log(`\n${plainTable(more)}\n`);
    } catch (error) {
      failed(error);
    }
  }
  const judged = rows.filter((row) => met(row) !== undefined);
  const seconds = (performance.now() - start) / 1000;
  if (!quick && asked.length === 0 && nodes === undefined) write(rows, seconds);
  say(`${judged.filter((row) => met(row)).length} of ${judged.length} targets met, ${Math.round(seconds)} s`);
  if (values.json) console.log(JSON.stringify(rows));
}
