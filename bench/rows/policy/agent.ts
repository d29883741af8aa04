/**
 * The whole agent with the policies and pods of a large cluster: its start until they are in force, what the API server sends for
 * that, and the memory that it takes beside an agent without policies; and what an ADD costs that has to wait for its policies.
 */
import { setTimeout as pause } from "node:timers/promises";
import { join } from "node:path";
import type { AgentStatus } from "../../../src/observe/index.ts";
import { BenchAgent } from "../../simulator/agent.ts";
import { Cluster, receivedBytes } from "../../simulator/cluster.ts";
import { HERE, type PolicyClusterSize, podNumber } from "../../simulator/policy-cluster.ts";
import { type Contestant, served } from "../../support/contestants.ts";
import { type Context, type Measurement, native } from "../../support/context.ts";
import { namespace } from "../../support/namespace.ts";
import { type Call, runCalls } from "../../support/plugins.ts";
import { until } from "../../support/process.ts";
import { alone, compared, type Row, type Target, type Unit } from "../../support/row.ts";

const SIZE: PolicyClusterSize = { pods: 100_000, namespaces: 1_000, policies: 5, perNode: 110 };
const QUICK: PolicyClusterSize = { pods: 2_000, namespaces: 100, policies: 5, perNode: 110 };
/** Pods of the cluster in which pods are added: those of one node. */
const OF_ADDS: PolicyClusterSize = { pods: 200, namespaces: 10, policies: 5, perNode: 200 };
/** The first of them are of all kinds that there are, and stay. */
const STANDING = 50;
const OWN = { name: HERE, ip: "172.30.0.11", podCidr: "10.0.0.0/22" };
/** Work is over when the memory that it left has been collected, too. */
const SETTLED_MS = 15_000;

/** Waits until an agent says that the policies are in force. */
async function inForce(agent: BenchAgent): Promise<void> {
  await until(`policies are in force\n${agent.log}`, 120_000, async () => {
    const { status, body } = await agent.get("/status");
    return status === 200 && (JSON.parse(body) as AgentStatus).policies?.inForce === true;
  });
}

async function starts(context: Context): Promise<Row[]> {
  const size = context.quick ? QUICK : SIZE;
  const kind = Cluster.realIsThere && !context.quick ? "real" : "embedded";
  const server = kind === "real" ? `kube-apiserver ${Cluster.realVersion}` : "embedded API server";
  const rows: Row[] = [];
  const add = (measure: string, unit: Unit, samples: readonly number[], target?: Target): void => {
    const what = `${size.pods.toLocaleString("en")} pods, ${(size.namespaces * size.policies).toLocaleString("en")} policies`;
    const head = { group: `policies, ${server}`, measure: `${what}: ${measure}`, unit };
    rows.push(alone({ ...head, ...(target && !context.quick && { target }) }, samples));
  };
  const cluster = await Cluster.start(context, kind);
  const machine = cluster.machine("agent", 11);
  const { kubeconfig } = cluster.files(join(context.dir, "access"));
  const agent = new BenchAgent(context, machine, { ...OWN, kubeconfig });
  await cluster.ask({ what: "own", ...OWN });
  agent.start();
  await agent.ready();
  await pause(SETTLED_MS);
  const without = agent.memory;
  context.say(`${server}: filling up with ${size.pods} pods`);
  await cluster.ask({ what: "workloads", size });
  const [wall, cpu, bytes, memory]: number[][] = [[], [], [], []];
  for (let round = 0; round < (context.quick ? 1 : 3); round++) {
    await agent.stop("SIGKILL");
    agent.forget();
    const before = receivedBytes(machine);
    const start = agent.start();
    await inForce(agent);
    wall?.push(Number(process.hrtime.bigint() - start) / 1e9);
    cpu?.push(agent.cpu / 1000);
    bytes?.push((receivedBytes(machine) - before) / 1e6);
    await pause(SETTLED_MS);
    memory?.push(agent.memory - without);
  }
  await agent.stop("SIGKILL");
  add("process start to policies in force", "s", wall ?? [], { of: "value", atMost: 4 });
  add("CPU of that start", "s", cpu ?? []);
  add("sent by the API server", "MB", bytes ?? []);
  add("resident memory beside an agent without policies", "MB", memory ?? [], { of: "value", atMost: 60 });
  return rows;
}

/**
 * ADDs of pods that the API server knows, by two agents in turns, on nodes that have one of each kind already: a node's first pod of a
 * kind has new rules made, which later ones have in common.
 * @returns times of each, of its first pods of a kind and of others
 */
async function adds(
  context: Context,
  contestants: readonly Contestant[],
): Promise<{ first: number[]; more: number[] }[]> {
  const meter = native(context, "meter");
  const times = contestants.map(() => ({ first: [] as number[], more: [] as number[] }));
  for (let n = 0; n < STANDING; n++) {
    const pod = podNumber(n, OF_ADDS);
    for (const [at, { path, config, node }] of contestants.entries()) {
      const netns = namespace(context, `stays${at}-${n}`).path;
      const { results } = await runCalls(meter, node, [
        { path, command: "ADD", containerId: `stays${n}`, netns, config, pod },
      ]);
      times[at]?.first.push(results[0]?.wall ?? 0);
    }
  }
  const netns = contestants.map((_, at) => namespace(context, `pod${at}`).path);
  const count = context.quick ? 10 : 80;
  for (let round = 0; round < count; round++) {
    const pod = podNumber(STANDING + (round % (OF_ADDS.pods - STANDING)), OF_ADDS);
    for (const [at, { path, config, node }] of contestants.entries()) {
      const call = { path, containerId: `round${round}`, netns: netns[at] ?? "", config, pod };
      const calls: Call[] = [
        { ...call, command: "ADD" },
        { ...call, command: "DEL" },
      ];
      const { results } = await runCalls(meter, node, calls);
      times[at]?.more.push(results[0]?.wall ?? 0);
    }
  }
  return times;
}

export const policyAgent: Measurement = {
  name: "policy-agent",
  title: "An agent with the policies of a large cluster",
  async run(context) {
    const rows = await starts(context);
    const [plain, policed] = [await served(context, HERE), await served(context, HERE)];
    await policed.cluster.ask({ what: "workloads", size: OF_ADDS });
    await plain.cluster.ask({ what: "workloads", size: { ...OF_ADDS, policies: 0 } });
    await inForce(policed.agent);
    const [without, within] = await adds(context, [plain, policed]);
    const row = (of: "first" | "more", measure: string, target?: Target): Row =>
      compared(
        { group: "policies", measure, unit: "ms", ...(target && { target }) },
        within?.[of] ?? [],
        "no policies",
        without?.[of] ?? [],
      );
    const target: Target = { of: "ratio", atMost: 1.15 };
    rows.push(row("more", "ADD of a pod that policies select", target));
    rows.push(row("first", "the same, the node's first pod that they select so"));
    return rows;
  },
};
