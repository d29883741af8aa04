/**
 * Says on this node's own Node that it cannot keep domain names of policies, for as long as that is so: who writes the status of policies reads it
 * there. Where nothing was ever wrong nothing is written.
 */
import type { Logger } from "../log/index.ts";
import type { OwnFacts } from "../nodes/index.ts";
import { writePolicyFaults } from "../policy/index.ts";
import { Task } from "../reconcile/index.ts";

/** How soon a fault is told of, in milliseconds: what comes and goes with a pod is not worth a write. */
const SOON_MS = 1_000;

export interface PolicyFaultsOptions {
  log: Logger;
  /** Our Node as the API server has it; undefined while there is nobody to tell. */
  own: () => OwnFacts | undefined;
  /** Whether it is known if there is a fault, and which. */
  names: () => { known: boolean; fault: string | undefined };
  /** Writes the annotation; null takes it away. */
  annotate: (text: string | null) => Promise<void>;
  /** For tests. */
  soonMs?: number;
}

/** See the header. */
export class PolicyFaults {
  readonly #task: Task;
  readonly #soonMs: number;

  constructor({ log, own: ownNode, names, annotate, soonMs = SOON_MS }: PolicyFaultsOptions) {
    this.#soonMs = soonMs;
    const tell = async (): Promise<void> => {
      const own = ownNode();
      const { known, fault } = names();
      // What the agent before this one has said stays until it is known better.
      if (!own || !known) return;
      const text = writePolicyFaults(fault);
      if (text === own.policyFaults) return;
      await annotate(text ?? null);
      // Until the watch says the same.
      if (text === undefined) delete own.policyFaults;
      else own.policyFaults = text;
    };
    this.#task = new Task(tell, { baseMs: 1_000, maxMs: 60_000 }, (error, attempt) => {
      if (attempt === 1)
        log.warn(
          "the API server does not take what this node says of itself, that it cannot hold answers of DNS servers or can again; trying again",
          { error },
        );
    });
  }

  /** Something may have changed. */
  poke(): void {
    this.#task.want(this.#soonMs);
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }
}
