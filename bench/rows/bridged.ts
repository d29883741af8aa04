/**
 * A bridged network on one node that has ten thousand endpoints on others: MAC and an address a family each. Programmed by the
 * bridge's reconciler as the agent runs it, device and bridge included, and by iproute2 in batch mode into a bridge that is
 * there; then one more endpoint, and a restart with all in place.
 */
import { execFileSync } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import {
  type BridgedNetwork,
  BRIDGE_NAME,
  BridgeReconciler,
  EVERYBODY,
  type RemoteEndpoint,
} from "../../src/dataplane/bridge/index.ts";
import { createLogger } from "../../src/log/index.ts";
import { Rtnl } from "../../src/netlink/index.ts";
import { isMadeNeighbour } from "../../src/dataplane/vxlan/index.ts";
import type { Context, Measurement } from "../support/context.ts";
import { type Namespace, namespace } from "../support/namespace.ts";
import { alone, compared, type Row } from "../support/row.ts";
import { peer } from "./peers.ts";

const DEVICE = "sky.6000";
const NODES = 100;
const LOCAL: BridgedNetwork = {
  network: "lan",
  node: "bench",
  vni: 6000,
  device: DEVICE,
  port: 4789,
  mtu: 1450,
  mac: "02:00:00:00:00:01",
  underlayIp: "172.16.0.1",
  broadcast: "Replicate",
};

/** Endpoint number n of up to 65,000, on one of the nodes. */
function endpoint(n: number): RemoteEndpoint {
  const [high, low] = [n >> 8, n & 255];
  const mac = `02:00:00:02:${high.toString(16).padStart(2, "0")}:${low.toString(16).padStart(2, "0")}`;
  return { mac, ips: [`10.80.${high}.${low}`, `fd80::${high + 1}:${low + 1}`], node: peer(n % NODES).node };
}

const peers = Array.from({ length: NODES }, (_, n) => peer(n));
const underlayOf = new Map(peers.map(({ node, underlayIp }) => [node, underlayIp]));

/** The same entries as iproute2 reads them. */
function batches(dir: string, endpoints: readonly RemoteEndpoint[]): { fdb: string; ip: string } {
  const [fdb, ip] = [join(dir, "bridged-fdb.batch"), join(dir, "bridged-ip.batch")];
  const everybody = peers.map(({ underlayIp }) => `fdb append 00:00:00:00:00:00 dev ${DEVICE} dst ${underlayIp}\n`);
  const entries = endpoints.map(
    ({ mac, node }) =>
      `fdb add ${mac} dev ${DEVICE} dst ${underlayOf.get(node)}\nfdb add ${mac} dev ${DEVICE} master dynamic extern_learn\n`,
  );
  writeFileSync(fdb, [...everybody, ...entries].join(""));
  const neighbours = endpoints.flatMap(({ mac, ips }) =>
    ips.map((one) => `neigh add ${one} lladdr ${mac} dev ${BRIDGE_NAME} nud permanent\n`),
  );
  writeFileSync(ip, neighbours.join(""));
  return { fdb, ip };
}

/** Sees that all entries are there, so that nobody is quick by doing nothing. */
function requireEntries(ns: Namespace, size: number): void {
  using rtnl = Rtnl.open({ netns: ns.path });
  const [bridge, vxlan] = [BRIDGE_NAME, DEVICE].map((name) => rtnl.link(name)?.index ?? 0) as [number, number];
  const found = [
    rtnl.fdb({ ifindex: vxlan }).filter(({ mac }) => mac !== EVERYBODY).length,
    rtnl.bridgeFdb({ master: bridge }).filter(({ external }) => external).length,
    rtnl.neighbours({ ifindex: bridge }).filter((one) => isMadeNeighbour(one)).length,
  ];
  if (String(found) !== String([size, size, 2 * size]))
    throw new Error(`${found.join(", ")} entries of FDB, bridge and neighbours for ${size} endpoints`);
}

function theirs(ns: Namespace, files: { fdb: string; ip: string }, size: number): number {
  ns.exec("ip", "link", "add", BRIDGE_NAME, "up", "type", "bridge", "mcast_snooping", "0");
  const vxlan = ["id", "6000", "dstport", "4789", "local", "172.16.0.1", "nolearning"];
  ns.exec("ip", "link", "add", DEVICE, "type", "vxlan", ...vxlan);
  ns.exec("ip", "link", "set", DEVICE, "master", BRIDGE_NAME, "up");
  const start = performance.now();
  execFileSync("bridge", ["-n", ns.name, "-batch", files.fdb]);
  execFileSync("ip", ["-n", ns.name, "-batch", files.ip]);
  const ms = performance.now() - start;
  requireEntries(ns, size);
  for (const device of [DEVICE, BRIDGE_NAME]) ns.exec("ip", "link", "del", device);
  return ms;
}

const collect = ((): (() => void) => {
  setFlagsFromString("--expose-gc");
  return runInNewContext("gc") as () => void;
})();
/** Bytes that this process has in use. */
function inUse(): number {
  collect();
  const { heapUsed, external } = process.memoryUsage();
  return heapUsed + external;
}

/** Starts a reconciler for all endpoints, and stops it after `work`, which is told how long that took and what it changed. */
async function running(
  ns: Namespace,
  endpoints: readonly RemoteEndpoint[],
  work: (ms: number, bridge: BridgeReconciler, operations: number) => void | Promise<void>,
): Promise<void> {
  const start = performance.now();
  let operations = 0;
  const bridge = new BridgeReconciler({
    local: LOCAL,
    netns: ns.path,
    logger: createLogger({ level: "error", format: "text" }),
    onPass: (report) => (operations += report.operations),
  });
  bridge.setPeers(peers);
  bridge.setEndpoints(endpoints.map((one) => [one.mac, one]));
  try {
    await bridge.start();
    const ms = performance.now() - start;
    requireReady(bridge);
    await work(ms, bridge, operations);
    requireReady(bridge);
  } finally {
    await bridge.stop();
  }
}

function requireReady(bridge: BridgeReconciler): void {
  const { ready, error, entries } = bridge.status();
  if (!ready) throw new Error(`the bridge is not ready: ${error ?? JSON.stringify(entries)}`);
}

async function rowsFor(context: Context, size: number, rounds: number): Promise<Row[]> {
  const ns = namespace(context, "bridged");
  const before = inUse();
  const endpoints = Array.from({ length: size }, (_, n) => endpoint(n));
  const files = batches(context.dir, endpoints);
  const samples = {
    ours: [] as number[],
    theirs: [] as number[],
    memory: [] as number[],
    restart: [] as number[],
    one: [] as number[],
  };
  for (let round = 0; round < rounds; round++) {
    await running(ns, endpoints, (ms) => {
      samples.ours.push(ms);
      requireEntries(ns, size);
      if (round === 0) samples.memory.push((inUse() - before) / 1e6);
    });
    await running(ns, endpoints, async (ms, bridge, operations) => {
      samples.restart.push(ms);
      if (operations > 0) throw new Error(`a start with all in place changed ${operations} entries`);
      for (let n = 0; n < 30; n++) {
        const one = endpoint(size + n);
        const start = performance.now();
        bridge.setEndpoints([[one.mac, one]]);
        await bridge.settled();
        samples.one.push(performance.now() - start);
      }
    });
    for (const device of [DEVICE, BRIDGE_NAME]) ns.exec("ip", "link", "del", device);
    samples.theirs.push(theirs(ns, files, size));
  }
  const group = "bridged";
  const what = `${size.toLocaleString("en")} endpoints of ${NODES} nodes`;
  return [
    compared(
      { group, measure: `${what} (2 FDB, 2 neighbours each) into the kernel`, unit: "ms" },
      samples.ours,
      "bridge -batch + ip -batch",
      samples.theirs,
    ),
    alone({ group, measure: `${what}: memory of the process that they take`, unit: "MB" }, samples.memory),
    alone({ group, measure: `${what}: one more`, unit: "ms" }, samples.one),
    alone({ group, measure: `${what}: a start with all in place`, unit: "ms" }, samples.restart),
  ];
}

export const bridged: Measurement = {
  name: "bridged",
  title: "Endpoints of a bridged network into the kernel",
  run: (context) => rowsFor(context, context.quick ? 1_000 : 10_000, context.quick ? 1 : 3),
};
