/**
 * The Node's condition NetworkUnavailable. Cloud controllers set it to True on every new Node, and the scheduler keeps pods away
 * (taint node.kubernetes.io/network-unavailable) until whoever makes the network says otherwise. So it becomes False when the data
 * path works. A Node without the condition gets none.
 */
import type { NodeCondition } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { Task } from "../reconcile/index.ts";

/** Between two writes, in milliseconds: a controller that insists on True must not make a storm. */
const PACE_MS = 10_000;

const AVAILABLE: NodeCondition = {
  type: "NetworkUnavailable",
  status: "False",
  reason: "SkylaneIsUp",
  message: "Skylane's data path works on this node",
};

/** What it is told. */
export interface NetworkAvailableOptions {
  log: Logger;
  /** Status of the condition on our Node; undefined where it has none or while the API server is away. */
  condition: () => string | undefined;
  /** The data path works. */
  works: () => boolean;
  /** @throws ApiError */
  write: (condition: NodeCondition) => Promise<void>;
}

/** Keeps the condition. */
export class NetworkAvailable {
  readonly #options: NetworkAvailableOptions;
  readonly #task: Task;
  #written = Number.NEGATIVE_INFINITY;

  constructor(options: NetworkAvailableOptions) {
    const { log } = options;
    this.#options = options;
    this.#task = new Task(
      () => this.#keep(),
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        if (attempt === 1)
          log.warn("the Node's condition NetworkUnavailable cannot be written; trying again", { error });
      },
    );
  }

  /** The condition, or whether the data path works, may be otherwise now. */
  poke(): void {
    const { condition, works } = this.#options;
    const status = condition();
    if (status === undefined || status === "False" || !works()) return;
    this.#task.want(Math.max(0, this.#written + PACE_MS - performance.now()));
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  async #keep(): Promise<void> {
    const { log, condition, works, write } = this.#options;
    const status = condition();
    if (status === undefined || status === "False" || !works()) return;
    await write(AVAILABLE);
    this.#written = performance.now();
    log.info("set the Node's condition NetworkUnavailable to False: the data path works", { before: status });
  }
}
