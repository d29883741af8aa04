/**
 * Flows of a node in a process that does nothing else: node bench/simulator/flows-child.ts FILE, where FILE is where it writes down which kernel parameters
 * it has set. Pods are the addresses in 10.0.0.0/8. Runs until its parent closes stdin; prints how it stands as one line of JSON for each line it reads.
 */
import { createInterface } from "node:readline";
import { Flows } from "../../src/flows/index.ts";
import { RememberedWord } from "../../src/sys/index.ts";

const nothing = (): void => undefined;
const log = {
  error: console.error,
  warn: console.error,
  info: nothing,
  debug: nothing,
  enabled: () => false,
  child: () => log,
};
const flows = new Flows({
  log,
  tunnelPort: 4789,
  before: new RememberedWord(process.argv[2] ?? "", (error) => console.error(error)),
  whoHas: (ip) => (ip.startsWith("10.") ? { pod: `shop/${ip}`, node: "bench" } : undefined),
  network: "default",
  serviceAt: () => undefined,
  node: "bench",
  passesBy: () => false,
  onRepair: nothing,
});
flows.start();
const lines = createInterface({ input: process.stdin });
lines.on("line", () => {
  const { user, system } = process.cpuUsage();
  process.stdout.write(`${JSON.stringify({ ...flows.status(), cpuMs: (user + system) / 1_000 })}\n`);
});
lines.on("close", () => void flows.stop());
