/**
 * Looking after a node's networks from time to time: a few in each round of housekeeping, so that hundreds of them cost no
 * more than a handful does. What has an event does not wait for its turn.
 */
import type { Logger } from "../log/index.ts";
import type { NetworkInstance } from "./network-instance.ts";

/** How many a round looks after at least, and in how many rounds all have had their turn: there are six a minute. */
const LEAST = 8;
const ROUNDS = 6;

/** See the header. */
export class Rounds {
  readonly #log: Pick<Logger, "info" | "warn">;
  /** Names in the order of their turns. */
  #line: string[] = [];
  /** What went wrong with each: it is said once. */
  readonly #complaints = new Map<string, string>();

  constructor(log: Pick<Logger, "info" | "warn">) {
    this.#log = log;
  }

  /** One round. One that cannot be looked after keeps nobody from the others. */
  async go(instances: ReadonlyMap<string, Pick<NetworkInstance, "maintain">>): Promise<void> {
    const waiting = new Set(this.#line);
    this.#line.push(...[...instances.keys()].filter((name) => !waiting.has(name)));
    for (const name of this.#complaints.keys()) if (!instances.has(name)) this.#complaints.delete(name);
    const count = Math.max(LEAST, Math.ceil(instances.size / ROUNDS));
    for (const name of this.#line.splice(0, count)) {
      const instance = instances.get(name);
      if (instance) await this.#lookAfter(name, instance);
    }
  }

  async #lookAfter(network: string, instance: Pick<NetworkInstance, "maintain">): Promise<void> {
    try {
      await instance.maintain();
      if (this.#complaints.delete(network)) this.#log.info("a pod network can be looked after again", { network });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (this.#complaints.get(network) === message) return;
      this.#complaints.set(network, message);
      this.#log.warn("a pod network cannot be looked after; it is tried again in its turn", { network, error });
    }
  }
}
