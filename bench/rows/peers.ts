/**
 * The entries of thousands of peers into an empty VXLAN device: through Skylane's own planner and applier, and by
 * iproute2 in batch mode, which is the fastest that the kernel's own tools are. Each gets a new device every time;
 * what is measured of ours begins with the list of peers, of theirs with the start of the first tool on a finished file.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { Rtnl } from "../../src/netlink/index.ts";
import { type Peer } from "../../src/peers/index.ts";
import { applyPlan } from "../../src/dataplane/kernel/index.ts";
import { Desired, deviceOf, ensureDevice, overlayOperations, readActual } from "../../src/dataplane/vxlan/index.ts";
import { planAll } from "../../src/reconcile/index.ts";
import type { Context, Measurement } from "../support/context.ts";
import { type Namespace, namespace } from "../support/namespace.ts";
import { alone, compared, type Row } from "../support/row.ts";

const DEVICE = "sky.4096";
const LOCAL = {
  network: "default",
  node: "bench",
  vni: 4096,
  device: DEVICE,
  port: 4789,
  mtu: 1450,
  mac: "02:00:00:00:00:01",
  underlayIp: "172.16.0.1",
  podCidrs: ["10.0.0.0/24"],
  clusterCidrs: [],
};

/** Peer number n of up to 65,000: 10.x.y.0/24 behind 172.16+.… */
export function peer(n: number): Peer {
  const [high, low] = [n >> 8, n & 255];
  return {
    node: `node-${n}`,
    mac: `02:00:00:01:${high.toString(16).padStart(2, "0")}:${low.toString(16).padStart(2, "0")}`,
    underlayIp: `172.17.${high}.${low}`,
    podCidrs: [`10.${1 + high}.${low}.0/24`],
  };
}

/** Seconds of our processor time so far. */
const cpuSeconds = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1e6;
};

async function ours(rtnl: Rtnl, ns: Namespace, peers: readonly Peer[]): Promise<{ ms: number; phases: number[] }> {
  ensureDevice(rtnl, deviceOf(LOCAL), { netns: ns.path, ipv6: false });
  const start = performance.now();
  const desired = new Desired(LOCAL);
  desired.change(peers.map((one) => [one.node, one]));
  const link = rtnl.link(DEVICE);
  if (!link) throw new Error("the device is not there");
  const on = { ifindex: link.index, vni: LOCAL.vni, port: LOCAL.port };
  const { operations } = planAll(desired.tracker, await readActual(rtnl, on, undefined), overlayOperations, on);
  const planned = performance.now();
  const failures = await applyPlan(rtnl, operations);
  const end = performance.now();
  if (failures[0]) throw failures[0].error;
  return { ms: end - start, phases: [planned - start, end - planned] };
}

/** The same entries as iproute2 reads them. */
function batches(dir: string, peers: readonly Peer[]): { fdb: string; ip: string } {
  const fdb = join(dir, "fdb.batch");
  const ip = join(dir, "ip.batch");
  const gateway = ({ podCidrs: [cidr = ""] }: Peer): string => cidr.replace(/\/.*/, "");
  writeFileSync(fdb, peers.map(({ mac, underlayIp }) => `fdb add ${mac} dev ${DEVICE} dst ${underlayIp}\n`).join(""));
  const address = `addr add 10.0.0.0/32 dev ${DEVICE}\n`;
  const neighbours = peers.map((one) => `neigh add ${gateway(one)} lladdr ${one.mac} dev ${DEVICE} nud permanent\n`);
  const routes = peers.map(
    (one) => `route add ${one.podCidrs[0]} via ${gateway(one)} dev ${DEVICE} src 10.0.0.0 proto 83 onlink\n`,
  );
  writeFileSync(ip, [address, ...neighbours, ...routes].join(""));
  return { fdb, ip };
}

function theirs(rtnl: Rtnl, ns: Namespace, files: { fdb: string; ip: string }): number {
  ensureDevice(rtnl, deviceOf(LOCAL), { netns: ns.path, ipv6: false });
  const start = performance.now();
  execFileSync("bridge", ["-n", ns.name, "-batch", files.fdb]);
  execFileSync("ip", ["-n", ns.name, "-batch", files.ip]);
  return performance.now() - start;
}

/** How many entries the device has, so that nobody is quick by doing nothing. */
function count(rtnl: Rtnl): number {
  const ifindex = rtnl.link(DEVICE)?.index ?? 0;
  const routes = rtnl.routes({ ifindex, table: 254 }).length;
  return rtnl.fdb({ ifindex }).length + rtnl.neighbours({ ifindex }).length + routes;
}

async function rowsFor(context: Context, size: number, repeats: number): Promise<Row[]> {
  const ns = namespace(context, "peers");
  using rtnl = Rtnl.open({ netns: ns.path });
  const peers = Array.from({ length: size }, (_, at) => peer(at));
  const files = batches(context.dir, peers);
  const samples = { ours: [] as number[], theirs: [] as number[], plan: [] as number[], cpu: [] as number[] };
  const gone = (): void => {
    const found = count(rtnl);
    if (found !== 3 * size) throw new Error(`${found} entries instead of ${3 * size}`);
    ns.exec("ip", "link", "del", DEVICE);
  };
  for (let round = 0; round < repeats; round++) {
    const cpu = cpuSeconds();
    const { ms, phases } = await ours(rtnl, ns, peers);
    samples.cpu.push((cpuSeconds() - cpu) * 1000);
    samples.ours.push(ms);
    samples.plan.push(phases[0] ?? 0);
    gone();
    samples.theirs.push(theirs(rtnl, ns, files));
    gone();
  }
  const what = `${size.toLocaleString("en")} peers (FDB + neighbour + route) into the kernel`;
  const target = size === 5000 ? { target: { of: "ratio" as const, atMost: 0.4 } } : {};
  return [
    compared(
      { group: "peers", measure: what, unit: "ms", ...target },
      samples.ours,
      "bridge -batch + ip -batch",
      samples.theirs,
    ),
    alone({ group: "peers", measure: `${what}: of that, planning`, unit: "ms" }, samples.plan),
  ];
}

export const peers: Measurement = {
  name: "peers",
  title: "Thousands of peers into the kernel",
  async run(context) {
    const rows = await rowsFor(context, 1000, context.quick ? 3 : 9);
    return [...rows, ...(await rowsFor(context, 5000, context.quick ? 3 : 9))];
  },
};
