/**
 * Whether pods may ask for a network beside the default one, from an agent's first moment on. Until the API server has said which networks are
 * defined, what the agent before this one knew counts, as long as it was that there are none: then a pod of the default network need not wait
 * for an API server that is away. Otherwise a pod would start without what it may have asked for, and never get it.
 */
import { join } from "node:path";
import { type AskingPod, CniError, CODE } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import { RememberedWord } from "../sys/index.ts";
import { isStatic } from "./asking-pod.ts";
import { within } from "../reconcile/index.ts";
import type { DefinedNetworks } from "../network-definitions/index.ts";

/** "unknown": the API server has not said it yet, and there may be some. */
export type Presence = "some" | "none" | "unknown";

/** How long an ADD waits for the API server's first word about them, in milliseconds. */
const PATIENCE_MS = 3_000;

export interface NetworkPresenceOptions {
  config: Pick<AgentConfig, "dataDir">;
  log: Pick<Logger, "warn">;
  /** What the API server has said, or does not let this agent read, as where the ClusterRole is of a release that had no networks. */
  defined: Pick<DefinedNetworks, "accepted" | "refused" | "known" | "forbidden" | "whenKnown">;
  /** Whether pods of this node are in one, defined or not. */
  here: () => boolean;
  /** Why the API server cannot be asked; undefined while it can. */
  apiAway: () => string | undefined;
  /** For tests. */
  patienceMs?: number;
}

/** See the header. */
export class NetworkPresence {
  readonly #options: NetworkPresenceOptions;
  readonly #remembered: RememberedWord;

  constructor(options: NetworkPresenceOptions) {
    this.#options = options;
    this.#remembered = new RememberedWord(join(options.config.dataDir, "cache", "pod-networks"), (error) =>
      options.log.warn(
        "whether pod networks are defined cannot be written down; pods wait for the API server after a restart",
        { error },
      ),
    );
  }

  get now(): Presence {
    const { known, forbidden } = this.#options.defined;
    if (this.#any) return "some";
    const never = this.#remembered.word === undefined && forbidden;
    return known || this.#remembered.word === "none" || never ? "none" : "unknown";
  }

  /** Also where none of them can be: a pod that asks for it is told so. */
  get #any(): boolean {
    const { defined, here } = this.#options;
    return defined.accepted.size > 0 || defined.refused.size > 0 || here();
  }

  /**
   * Whether a pod may ask for one, once the API server has had the time to say it. A static pod does not wait for that, as it does not for
   * any other word of the API server. @throws CniError 11 while it is unknown
   */
  async mayAsk(pod: AskingPod | undefined): Promise<boolean> {
    if (!pod || (isStatic(pod) && this.now === "unknown")) return false;
    return (await this.#settled()) === "some";
  }

  async #settled(): Promise<Exclude<Presence, "unknown">> {
    const { defined, apiAway, patienceMs = PATIENCE_MS } = this.#options;
    const late = new Error("the API server does not say which pod networks are defined");
    const { known, forbidden } = defined;
    try {
      if (!known && !forbidden && apiAway() === undefined) await within(defined.whenKnown(), patienceMs, () => late);
    } catch (error) {
      if (error !== late) throw error;
    }
    const { now } = this;
    if (now === "unknown") throw this.#unknown(CODE.tryAgain);
    return now;
  }

  /** Sees that it is known. @throws CniError 50 */
  require(): void {
    if (this.now === "unknown") throw this.#unknown(CODE.notAvailable);
  }

  /** Writes down what the API server has said, for the agent that starts next. */
  remember(): void {
    if (this.#options.defined.known) this.#remembered.remember(this.#any ? "some" : "none");
  }

  #unknown(code: number): CniError {
    const away = this.#options.apiAway();
    return new CniError(
      code,
      `it is not known yet which pod networks are defined, so that nobody can tell what pods ask for${away === undefined ? "" : `: ${away}`}`,
      "The API server must answer skylane-agent on this node first; only static pods start without it.",
    );
  }
}
