/**
 * Keeps this network's entry on our Node object. Tried again for as long as it takes: without it no other node
 * sends us anything, and while the API server is away there is nobody to tell.
 */
import type { Logger } from "../log/index.ts";
import type { LocalNetwork } from "../overlay/index.ts";
import { Task } from "../task/index.ts";
import type { OwnFacts } from "./inputs.ts";
import { mergeAnnotation, ownEntry } from "./publish.ts";

/** What to publish now; undefined while there is nothing to publish or nobody to tell. */
export type Publication = { own: OwnFacts; local: LocalNetwork; ips: readonly string[]; direct: boolean } | undefined;

/** Publishes one network's entry. */
export class Publisher {
  readonly #task: Task;
  #done: { text: string } | { error: string } | undefined;

  /** @param annotate writes the annotation; @param wanted says what to publish whenever it is asked. */
  constructor(log: Logger, annotate: (text: string) => Promise<void>, wanted: () => Publication) {
    const publish = async (): Promise<void> => {
      const publication = wanted();
      if (!publication) return;
      const { own, local, ips, direct } = publication;
      const text = mergeAnnotation(own.vtepAnnotation, local.network, ownEntry(local, ips, direct)) as string;
      if (text !== own.vtepAnnotation) {
        await annotate(text);
        own.vtepAnnotation = text; // until the watch says the same
        log.info("published this node's VTEP on its Node", { ips, mac: local.mac, podCidrs: local.podCidrs });
      }
      this.#done = { text };
    };
    this.#task = new Task(publish, { baseMs: 500, maxMs: 30_000 }, (error, attempt) => {
      this.#done = { error: error instanceof Error ? error.message : String(error) };
      if (attempt === 1) log.warn("this node's VTEP cannot be published; trying again", { error });
    });
  }

  /** Something may have changed. */
  poke(): void {
    this.#task.want();
  }

  /** Whether the Node says what it should. */
  get verdict(): { ok: boolean; message: string } {
    if (!this.#done) return { ok: false, message: "this node's VTEP is not on its Node object yet" };
    if ("error" in this.#done) return { ok: false, message: this.#done.error };
    return { ok: true, message: "this node's VTEP is on its Node object" };
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }
}
