/**
 * Tells the owners of IPClaims that make no sense why, in the claims' own conditions: the work of the agent that keeps the status of
 * networks. A pod that uses such a claim is told so as well; whoever makes a claim beforehand need not wait for one.
 */
import { ApiError, type KubeClient, patchStatus } from "../kube/index.ts";
import type { UnusableClaim } from "../ipam/claims/index.ts";
import type { Logger } from "../log/index.ts";
import { claimReady, ipClaimsOf } from "../crd/index.ts";
import { Task } from "../reconcile/index.ts";

/** Conditions at once; others come with the next change of theirs, so that nobody fills this agent's memory. */
const MOST = 10_000;

/** See the header. */
export class ClaimFaults {
  readonly #client: KubeClient;
  readonly #waiting = new Map<string, UnusableClaim>();
  readonly #task: Task;

  constructor(client: KubeClient, log: Logger) {
    this.#client = client;
    this.#task = new Task(
      () => this.#write(),
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        if (attempt === 1) log.warn("the condition of an unusable IPClaim cannot be written; trying again", { error });
      },
    );
  }

  /** A claim as it is now. */
  tell(fault: UnusableClaim): void {
    const { namespace, name } = fault.claim;
    if (this.#waiting.size >= MOST) return;
    this.#waiting.set(`${namespace}/${name}`, fault);
    this.#task.want();
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  async #write(): Promise<void> {
    for (const [key, fault] of this.#waiting) {
      const { namespace, name, resourceVersion, status } = fault.claim;
      const ready = claimReady(status.ready, { reason: "Invalid", message: fault.message }, new Date().toISOString());
      try {
        if (ready)
          await patchStatus(this.#client, ipClaimsOf(namespace), name, { conditions: [ready] }, resourceVersion);
      } catch (error) {
        // Changed or gone since: it is seen again as it is now.
        if (!(error instanceof ApiError && (error.status === 409 || error.status === 404))) throw error;
      }
      if (this.#waiting.get(key) === fault) this.#waiting.delete(key);
    }
  }
}
