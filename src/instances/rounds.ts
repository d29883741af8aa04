/**
 * Looking after a node's networks from time to time: a few in each round of housekeeping, so that hundreds of them cost no
 * more than a handful does. What has an event does not wait for its turn.
 */
import type { Logger } from "../log/index.ts";
import type { Member } from "./network-instance.ts";

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
  async go(members: ReadonlyMap<string, Pick<Member, "maintain">>): Promise<void> {
    const waiting = new Set(this.#line);
    this.#line.push(...[...members.keys()].filter((name) => !waiting.has(name)));
    for (const name of this.#complaints.keys()) if (!members.has(name)) this.#complaints.delete(name);
    const count = Math.max(LEAST, Math.ceil(members.size / ROUNDS));
    for (const name of this.#line.splice(0, count)) {
      const member = members.get(name);
      if (member) await this.#lookAfter(name, member);
    }
  }

  async #lookAfter(network: string, member: Pick<Member, "maintain">): Promise<void> {
    try {
      await member.maintain();
      if (this.#complaints.delete(network)) this.#log.info("a pod network can be looked after again", { network });
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      if (this.#complaints.get(network) === message) return;
      this.#complaints.set(network, message);
      this.#log.warn("a pod network cannot be looked after; it is tried again in its turn", { network, error });
    }
  }
}
