/** Making a lab step by step, and taking one down whatever state it is in. */
import { join } from "node:path";
import type { LabContext } from "./context.ts";
import type { ControlSpec, FromControl } from "../control/main.ts";
import { converged } from "./convergence.ts";
import { entering, mapLimit } from "../exec.ts";
import { buildSwitch, startFabric } from "./fabric.ts";
import type { Lab } from "../lab.ts";
import type { LabOptions } from "./options.ts";
import { API_PORT, GATEWAY, nodeName, underlayFamilies } from "./names.ts";
import { boot, newNode, register } from "./nodes.ts";
import { killMarked } from "./processes.ts";
import type { ApiRecord, LabFiles } from "./records.ts";
import { Starting } from "./start.ts";

/** At most that many nodes boot at once. */
const BOOTS_AT_ONCE = 4;
const READY_MS = 120_000;

/** Makes everything of a lab: underlay, API server, nodes. @throws whatever failed, with the lab half made */
export async function build(lab: Lab, count: number, options: LabOptions): Promise<void> {
  const { progress = () => undefined, signal, dontWait, readyMs = READY_MS } = options;
  const { context } = lab;
  progress("the underlay: a switch in a network namespace of its own");
  const holder = await startFabric(context.env, (fabric) => context.files.write(fabric, "fabric.json"));
  await buildSwitch(holder.pid, context.record.addressing);
  signal?.throwIfAborted();
  progress("the API server");
  await startControl(context, holder.pid);
  signal?.throwIfAborted();
  const numbers = Array.from({ length: count }, (_, i) => i + 1);
  progress(`${count} nodes, each with an agent`);
  for (const number of numbers) context.files.write(newNode(number), "nodes", `${nodeName(number)}.json`);
  // Nodes come up side by side, and are registered in the order of their numbers: which of two is older must not depend on the machine.
  let registered = Promise.resolve();
  await mapLimit(numbers, BOOTS_AT_ONCE, async (number) => {
    signal?.throwIfAborted();
    const before = registered;
    const { promise, resolve: done } = Promise.withResolvers<void>();
    registered = promise;
    const inTurn = async (): Promise<void> => {
      await before;
      await register(context, lab.api, number);
      done();
    };
    try {
      await boot(context, newNode(number), { register: inTurn });
    } finally {
      done();
    }
    progress(`${nodeName(number)} is up`);
  });
  if (dontWait) return;
  progress("waiting until every node has every peer");
  await converged(lab, { timeoutMs: readyMs, ...(signal ? { signal } : {}) });
}

async function startControl(context: LabContext, fabric: number): Promise<void> {
  const [family] = underlayFamilies(context.record.addressing) as [4 | 6];
  const argv = entering({ pid: fabric }, join(context.binDir, "skylanectl"), ["lab", "serve-api"]);
  let api: Partial<ApiRecord> = {};
  const starting = new Starting<ControlSpec, FromControl>(context, "api", argv, (id) => {
    api = { process: id };
    context.files.write(api, "api.json");
  });
  starting.tell({
    host: GATEWAY[family],
    port: API_PORT,
    apiSocket: context.files.path("api.sock"),
    controlSocket: context.files.path("control.sock"),
  });
  const said = await starting.next();
  if ("failed" in said) throw new Error(`the API server does not start: ${said.failed}`);
  context.files.write({ ...api, ...said.api }, "api.json");
  starting.release();
}

/**
 * Ends every process of a lab and removes its files. Returns how many processes there were. Without a run's id there
 * are none: it is written down before the first one starts.
 */
export async function takeDown(files: LabFiles, runId: string | undefined): Promise<number> {
  const killed = runId === undefined ? 0 : await killMarked(runId);
  files.remove();
  return killed;
}
