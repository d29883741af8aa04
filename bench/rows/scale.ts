/**
 * One real agent among thousands of Nodes: how it starts, what a change, a heartbeat and doing nothing cost, and how it
 * stands when the API server goes and comes back.
 */
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { BenchAgent, RouteWatch } from "../simulator/agent.ts";
import { Cluster, fullWatch, receivedBytes } from "../simulator/cluster.ts";
import { addressesOf } from "../simulator/node-object.ts";
import { Witness } from "../simulator/witness.ts";
import type { Context, Measurement } from "../support/context.ts";
import { until } from "../support/process.ts";
import { alone, compared, type Row, type Target, type Unit } from "../support/row.ts";
import { median, quantile } from "../support/stats.ts";

const OWN = { name: "bench", ip: "172.30.0.11", podCidr: "10.0.0.0/24" };
/** Numbers of Nodes that come and go are far from those that stay. */
const EXTRA = 50_000;
/** Work is over when the memory that it left has been collected, too. */
const SETTLED_MS = 10_000;
const ms = (from: bigint, to: bigint): number => Number(to - from) / 1e6;

/** A run of the simulator against one server. */
export class Simulation {
  readonly context: Context;
  readonly cluster: Cluster;
  readonly agent: BenchAgent;
  readonly routes: RouteWatch;
  readonly rows: Row[] = [];
  #nodes = 0;

  private constructor(context: Context, cluster: Cluster) {
    this.context = context;
    this.cluster = cluster;
    const ns = cluster.machine("agent", 11);
    const { kubeconfig } = cluster.files(join(context.dir, "access"));
    this.agent = new BenchAgent(context, ns, { ...OWN, kubeconfig });
    this.routes = new RouteWatch(ns);
    context.onEnd(() => this.routes.close());
  }

  static async start(context: Context, kind: "embedded" | "real"): Promise<Simulation> {
    const cluster = await Cluster.start(context, kind);
    const simulation = new Simulation(context, cluster);
    await cluster.ask({ what: "own", ...OWN });
    return simulation;
  }

  get #group(): string {
    return this.cluster.kind === "real" ? `scale, kube-apiserver ${Cluster.realVersion}` : "scale, embedded API server";
  }

  add(measure: string, unit: Unit, samples: readonly number[], target?: Target, note?: string): void {
    const what = `${this.#nodes.toLocaleString("en")} nodes: ${measure}`;
    const head = { group: this.#group, measure: what, unit, ...(target && { target }), ...(note && { note }) };
    this.rows.push(alone(head, samples));
  }

  async fill(nodes: number): Promise<void> {
    this.context.say(`${this.#group}: filling up to ${nodes} nodes`);
    await this.cluster.ask({ what: "put", from: this.#nodes, count: nodes - this.#nodes });
    this.#nodes = nodes;
  }

  /** Waits until the peers' routes are exactly so many. @returns when the last one came or went */
  async #settle(count: number): Promise<bigint> {
    await until(
      `${count} routes (${this.routes.routes.size})\n${this.agent.log}`,
      120_000,
      () => this.routes.routes.size === count,
      5,
    );
    return this.routes.last;
  }

  /** From nothing to all entries, several times; the last agent stays. */
  async coldStarts(times: number, targets: { wall?: number; cpu?: number }): Promise<void> {
    const [wall, cpu, ready]: number[][] = [[], [], []];
    for (let round = 0; round < times; round++) {
      await this.agent.stop("SIGKILL");
      this.agent.forget();
      this.routes.routes.clear();
      const start = this.agent.start();
      const end = await this.#settle(this.#nodes);
      cpu?.push(this.agent.cpu / 1000);
      wall?.push(ms(start, end) / 1000);
      await this.agent.ready();
      ready?.push(ms(start, process.hrtime.bigint()) / 1000);
    }
    const target = (atMost: number | undefined): Target | undefined =>
      atMost === undefined ? undefined : { of: "value", atMost };
    this.add("process start to all entries in the kernel", "s", wall ?? [], target(targets.wall));
    this.add("CPU of that start", "s", cpu ?? [], target(targets.cpu));
    this.add("process start to ready", "s", ready ?? []);
  }

  async idle(seconds: number): Promise<void> {
    await pause(SETTLED_MS);
    const [cpu, start] = [this.agent.fineCpu, performance.now()];
    await pause(seconds * 1000);
    const share = ((this.agent.fineCpu - cpu) / (performance.now() - start)) * 100;
    this.add("CPU of an idle agent, of a core", "%", [share], { of: "value", atMost: 0.5 });
    this.add("resident memory after the start has settled", "MB", [this.agent.memory], { of: "value", atMost: 110 });
  }

  /** Single Nodes that come. */
  async joins(count: number): Promise<void> {
    const times: number[] = [];
    const witness = await Witness.start(this.context, this.agent.ns);
    const podCidrs = new Set<string>();
    for (let n = 0; n < count; n++) {
      const { podCidr } = addressesOf(EXTRA + n);
      podCidrs.add(podCidr);
      const [written = 0n] = await this.cluster.ask({ what: "put", from: EXTRA + n, count: 1 });
      await until(`a route to ${podCidr}`, 20_000, () => this.routes.at.has(podCidr), 1);
      times.push(ms(written, this.routes.at.get(podCidr) ?? 0n));
      await pause(30);
    }
    const arrived = await witness.stop(podCidrs);
    if (arrived.length !== count) throw new Error(`the events of ${arrived.length} of ${count} Nodes were seen`);
    this.add("one new Node, from its event's arrival to its entries in the kernel: median", "ms", arrived);
    this.add("the same, 99th percentile", "ms", [quantile(arrived, 0.99)], { of: "value", atMost: 10 });
    this.add("one new Node, from its write to its entries in the kernel: median", "ms", times);
    this.add("the same, 99th percentile", "ms", [quantile(times, 0.99)]);
    await this.cluster.ask({ what: "remove", from: EXTRA, count });
    await this.#settle(this.#nodes);
  }

  /** A tenth of the nodes at once, coming and going. */
  async massChange(count: number, rounds: number): Promise<void> {
    const [come, go, cpu]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < rounds; round++) {
      const before = this.agent.cpu;
      const [first = 0n] = await this.cluster.ask({ what: "put", from: EXTRA, count });
      come.push(ms(first, await this.#settle(this.#nodes + count)));
      const [gone = 0n] = await this.cluster.ask({ what: "remove", from: EXTRA, count });
      go.push(ms(gone, await this.#settle(this.#nodes)));
      cpu.push(this.agent.cpu - before);
    }
    this.add(`${count} nodes join at once, first write to last entry`, "ms", come);
    this.add(`${count} nodes leave at once, first write to last entry gone`, "ms", go);
    this.add("CPU of both", "ms", cpu);
  }

  async heartbeats(count: number): Promise<void> {
    const full = await fullWatch(this.context, this.cluster);
    await pause(1_000);
    const before = { cpu: this.agent.fineCpu, ours: receivedBytes(this.agent.ns), full: full() };
    await this.cluster.ask({ what: "heartbeats", nodes: this.#nodes, count, perSecond: 100 });
    await pause(500);
    const cpu = (this.agent.fineCpu - before.cpu) / 1000;
    const each = (bytes: number): number => bytes / count / 1000;
    const target: Target | undefined = count === 1000 ? { of: "value", atMost: 0.5 } : undefined;
    this.add(`CPU of ${count} heartbeats at 100/s`, "s", [cpu], target);
    const head = {
      group: this.#group,
      measure: `${this.#nodes.toLocaleString("en")} nodes: bytes from the API server for one heartbeat`,
      unit: "KB" as const,
      target: { of: "ratio" as const, atMost: 0.15 },
    };
    const ours = each(receivedBytes(this.agent.ns) - before.ours);
    this.rows.push(compared(head, [ours], "watch of whole Nodes", [each(full() - before.full)]));
  }

  /** Nodes that come and go, until there have been so many events. */
  async churn(events: number): Promise<void> {
    const batch = 250;
    // What came before, and what this leaves, has been collected when it is measured.
    await pause(SETTLED_MS);
    const before = this.agent.memory;
    for (let done = 0; done < events; done += 2 * batch) {
      await this.cluster.ask({ what: "put", from: EXTRA, count: batch });
      await this.#settle(this.#nodes + batch);
      await this.cluster.ask({ what: "remove", from: EXTRA, count: batch });
      await this.#settle(this.#nodes);
    }
    await pause(SETTLED_MS);
    const target: Target | undefined = events >= 10_000 ? { of: "value", atMost: 5 } : undefined;
    this.add(
      `growth of resident memory over ${events.toLocaleString("en")} joins and leaves`,
      "MB",
      [this.agent.memory - before],
      target,
    );
  }

  /** An agent that comes back to a kernel that is right, and must not touch it. */
  async restart(times: number): Promise<void> {
    const [wall, cpu, touched]: [number[], number[], number[]] = [[], [], []];
    for (let round = 0; round < times; round++) {
      await this.agent.stop();
      const changes = this.routes.changes;
      const start = this.agent.start();
      await this.agent.ready();
      wall.push(ms(start, process.hrtime.bigint()) / 1000);
      cpu.push(this.agent.cpu / 1000);
      touched.push(this.routes.changes - changes);
    }
    this.add("restart with all entries in place, start to ready", "s", wall);
    this.add("CPU of that restart", "s", cpu);
    if (median(touched) > 0) throw new Error(`a restart touched ${median(touched)} routes`);
  }

  async apiRestart(): Promise<void> {
    const [cpu, changes] = [this.agent.cpu, this.routes.changes];
    await this.cluster.away(1_000);
    const back = process.hrtime.bigint();
    await this.cluster.ask({ what: "put", from: EXTRA, count: 1 });
    const end = await this.#settle(this.#nodes + 1);
    this.add("API server back to the next new Node in the kernel", "s", [ms(back, end) / 1000]);
    this.add("CPU of losing the API server and the relist", "s", [(this.agent.cpu - cpu) / 1000]);
    if (this.routes.changes !== changes + 1) throw new Error("a relist touched routes");
  }
}

async function simulate(context: Context, kind: "embedded" | "real"): Promise<Row[]> {
  const { quick } = context;
  const nodes = context.nodes ?? (quick ? 500 : 5000);
  const full = nodes === 5000;
  const simulation = await Simulation.start(context, kind);
  const steps: (() => Promise<void>)[] = [
    () => simulation.fill(nodes),
    () => simulation.coldStarts(quick ? 1 : 3, full ? { ...(kind === "real" && { wall: 2 }), cpu: 2 } : {}),
    () => simulation.idle(quick ? 3 : 10),
    () => simulation.joins(quick ? 30 : 200),
    () => simulation.massChange(quick ? 100 : 500, quick ? 1 : 3),
    () => simulation.heartbeats(quick ? 200 : 1000),
    () => simulation.churn(quick ? 1000 : 10_000),
    () => simulation.restart(quick ? 1 : 3),
    () => simulation.apiRestart(),
  ];
  if (!quick && nodes > 1000) {
    steps.unshift(
      () => simulation.fill(1000),
      () => simulation.coldStarts(3, kind === "real" ? { wall: 0.9 } : {}),
    );
  }
  try {
    for (const step of steps) await step();
  } catch (error) {
    // What was measured before it is worth as much as it was.
    context.failed(error);
  }
  return simulation.rows;
}

export const scale: Measurement = {
  name: "scale",
  title: "One agent among thousands of nodes, embedded API server",
  run: (context) => simulate(context, "embedded"),
};

export const scaleReal: Measurement = {
  name: "scale-real",
  title: "One agent among thousands of nodes, real kube-apiserver and etcd",
  async run(context) {
    if (Cluster.realIsThere && !context.quick) return await simulate(context, "real");
    context.say(context.quick ? "left out in a quick run" : "no binaries of a control plane here: left out");
    return [];
  },
};
