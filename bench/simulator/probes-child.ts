/**
 * Probes of so many peers in a process that does nothing else, so that what it costs is what they cost: node bench/simulator/probes-child.ts PEERS. Runs
 * until its parent closes stdin; prints what was sent and answered as one line of JSON for each line it reads.
 */
import { createInterface } from "node:readline";
import { type ProbeCount, Probes } from "../../src/probes/index.ts";
import { peer } from "../rows/peers.ts";

const count = Number(process.argv[2]);
const nothing = (): void => undefined;
const log = {
  error: console.error,
  warn: nothing,
  info: nothing,
  debug: nothing,
  enabled: () => false,
  child: () => log,
};
let answers = 0;
const probes = new Probes({ log, event: nothing, onAnswer: () => answers++ });
probes.setLocal({
  network: "default",
  node: "bench",
  vni: 759,
  device: "eth0",
  port: 4789,
  mtu: 1450,
  mac: "02:00:00:00:00:01",
  underlayIp: "172.16.0.1",
  podCidrs: ["10.0.0.0/24", "fd10::/64"],
  clusterCidrs: [],
});
probes.setPeers(
  Array.from({ length: count }, (_, n) => {
    const { podCidrs, ...one } = peer(n);
    return { ...one, podCidrs: [...podCidrs, `fd10:${(n + 1).toString(16)}::/64`] };
  }),
);
const lines = createInterface({ input: process.stdin });
lines.on("line", () => {
  const of = (outcome: ProbeCount["outcome"]): number =>
    probes.counts.reduce((sum, one) => sum + (one.outcome === outcome ? one.packets : 0), 0);
  const { usage } = { usage: process.cpuUsage() };
  const document = {
    answered: of("answered"),
    lost: of("lost") + of("refused"),
    answers,
    cpuMs: (usage.user + usage.system) / 1_000,
    at: performance.now(),
  };
  process.stdout.write(`${JSON.stringify(document)}\n`);
});
lines.on("close", () => void probes.stop());
