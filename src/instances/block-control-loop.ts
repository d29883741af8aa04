/**
 * Looks after what this node has of a network in the API server between pods: blocks that somebody deleted, or that were collected
 * with a Node that was registered again, are claimed back at once, before another node takes them.
 */
import type { Logger } from "../log/index.ts";
import { Task } from "../reconcile/index.ts";

const RETRY = { baseMs: 200, maxMs: 30_000 };

export interface BlockControlLoopOptions {
  log: Logger;
  /** Makes what is there go with our Node as it is now. @throws BlockError */
  adopt: () => Promise<void>;
  /** Takes up what has changed, and sees that there is a block of every family. @throws BlockError */
  ensure: () => Promise<void>;
}

/** See the header. */
export class BlockControlLoop {
  readonly #task: Task;
  #adopting = false;

  constructor({ log, adopt, ensure }: BlockControlLoopOptions) {
    this.#task = new Task(
      async () => {
        // The Node may change again meanwhile.
        const adopting = this.#adopting;
        this.#adopting = false;
        try {
          if (adopting) await adopt();
        } catch (error) {
          this.#adopting = true;
          throw error;
        }
        await ensure();
      },
      RETRY,
      (error, attempt) => {
        if (attempt === 1) log.warn("blocks of a network cannot be put back; trying again", { error });
      },
    );
  }

  /** Blocks of this node have changed or are gone. */
  look(): void {
    this.#task.want();
  }

  /** Our Node is another object now, or gone. */
  adopt(): void {
    this.#adopting = true;
    this.#task.want();
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }
}
