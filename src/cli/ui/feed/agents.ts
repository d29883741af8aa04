/** From the agents into the map: each node is asked again and again, in turn, a few at a time. One that does not answer holds up none but itself. */
import { describeError } from "../../main.ts";
import type { Cluster } from "../cluster.ts";
import type { World } from "../model/world.ts";
import { agentFacts, flowsOf, measuredOf } from "./answers.ts";

/** Nodes that are asked at a time. */
const AT_ONCE = 8;

/** From {@link start} to {@link stop}. */
export class AgentFeed {
  readonly #cluster: Cluster;
  readonly #world: World;
  /** When each was asked last, in milliseconds of this process; the longest ago first. */
  readonly #asked = new Map<string, number>();
  readonly #underWay = new Map<string, Promise<void>>();
  #timer: NodeJS.Timeout | undefined;
  #stopped = false;
  /** Pods without an object, by name, that are there. */
  #others = new Set<string>();

  constructor(cluster: Cluster, world: World) {
    this.#cluster = cluster;
    this.#world = world;
  }

  start(): void {
    this.#timer = setInterval(() => this.#next(), Math.min(250, this.#cluster.everyMs));
    this.#next();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    clearInterval(this.#timer);
    await Promise.all(this.#underWay.values());
  }

  #next(): void {
    if (this.#stopped) return;
    this.#podsWithoutObject();
    const now = performance.now();
    const nodes = new Set(this.#world.nodes);
    for (const name of this.#asked.keys()) if (!nodes.has(name)) this.#asked.delete(name);
    const due = [...nodes].filter(
      (name) => !this.#underWay.has(name) && now - (this.#asked.get(name) ?? -Infinity) >= this.#cluster.everyMs,
    );
    due.sort((a, b) => (this.#asked.get(a) ?? -Infinity) - (this.#asked.get(b) ?? -Infinity));
    for (const name of due.slice(0, AT_ONCE - this.#underWay.size)) {
      this.#asked.set(name, now);
      const work = this.#ask(name).finally(() => {
        this.#underWay.delete(name);
        this.#next();
      });
      this.#underWay.set(name, work);
    }
  }

  /** Never rejects. */
  async #ask(node: string): Promise<void> {
    try {
      const facts = agentFacts(await this.#cluster.ask(node, "status"));
      this.#world.agentAnswered(node, facts);
      if (facts.probes?.on) this.#world.measured(node, measuredOf(await this.#cluster.ask(node, "probes")));
      if (facts.flows?.on) this.#world.flowed(node, flowsOf(await this.#cluster.ask(node, "flows"), node));
    } catch (error) {
      if (!this.#stopped) this.#world.agentSilent(node, describeError(error));
    }
  }

  #podsWithoutObject(): void {
    if (!this.#cluster.pods) return;
    const pods = this.#cluster.pods();
    const there = new Set(pods.map(({ key }) => key));
    for (const key of this.#others) if (!there.has(key)) this.#world.podGone(key);
    this.#others = there;
    for (const pod of pods) this.#world.podSeen(pod);
  }
}
