/**
 * Keeps what this node says of itself on its Node object: one annotation for all pod networks, so one writer. Tried again for as
 * long as it takes: without it no other node sends us anything, and while the API server is away there is nobody to tell.
 */
import type { Logger } from "../log/index.ts";
import type { VtepAnnotation } from "../peers/index.ts";
import { Task } from "../reconcile/index.ts";
import type { OwnFacts } from "./inputs.ts";
import { mergeAnnotation } from "./publish.ts";
import type { CheckResult } from "../observe/index.ts";

/** What to say of each network that there is something to say of; undefined: that this node has no part in it. */
export type Entries = ReadonlyMap<string, VtepAnnotation | undefined>;

/** Our Node as it is, and what to say there. */
export interface Publication {
  own: OwnFacts;
  entries: Entries;
}

/** Publishes this node's part in all networks. */
export class Publisher {
  readonly #task: Task;
  #done: Entries = new Map();
  #error: string | undefined;

  /**
   * @param annotate writes the annotation.
   * @param wanted says what to publish whenever it is asked; undefined while there is nobody to tell.
   */
  constructor(log: Logger, annotate: (text: string) => Promise<void>, wanted: () => Publication | undefined) {
    const publish = async (): Promise<void> => {
      const publication = wanted();
      if (!publication || publication.entries.size === 0) return;
      const { own, entries } = publication;
      const text = mergeAnnotation(own.vtepAnnotation, entries);
      if (text !== own.vtepAnnotation) {
        await annotate(text);
        own.vtepAnnotation = text; // until the watch says the same
        log.info("published this node's VTEP on its Node", { networks: describe(entries) });
      }
      this.#done = entries;
      this.#error = undefined;
    };
    this.#task = new Task(publish, { baseMs: 500, maxMs: 30_000 }, (error, attempt) => {
      this.#error = error instanceof Error ? error.message : String(error);
      if (attempt === 1) log.warn("this node's VTEP cannot be published; trying again", { error });
    });
  }

  /** Something may have changed. */
  poke(): void {
    this.#task.want();
  }

  /** Whether the Node says of a network what it should. */
  verdict(network: string): CheckResult {
    if (this.#error !== undefined) return { ok: false, message: this.#error };
    if (!this.#done.has(network)) return { ok: false, message: "this node's VTEP is not on its Node object yet" };
    return { ok: true, message: "this node's VTEP is on its Node object" };
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }
}

const describe = (entries: Entries): string =>
  [...entries]
    .map(([network, entry]) =>
      entry ? `${network}: ${entry.mac} ${entry.ips.join(" ")} ${entry.podCidrs.join(" ")}` : `${network}: left`,
    )
    .join("; ");
