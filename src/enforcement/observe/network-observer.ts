/** What people can see of the rules of one pod network: which packets they deny, and what they have counted. */
import type { Logger } from "../../log/index.ts";
import type { Metrics } from "../../observe/index.ts";
import { namedBy, outcomeOfPrefix, type PolicyModel } from "../../policy/index.ts";
import { DeniedPackets, type DeniedPacketsOptions } from "./denied-packets.ts";
import { type RuleCount, RuleCounters } from "./rule-counters.ts";

export interface NetworkObserverOptions {
  network: string;
  netns?: number | undefined;
  log: Logger;
  metrics: Pick<Metrics, "policyPackets" | "policyBytes">;
  model: PolicyModel;
  /** The uid of a pod of this node, for an Event. @param key namespace/name */
  uidOf: (key: string) => string | undefined;
  event: DeniedPacketsOptions["event"];
  onDenied?: DeniedPacketsOptions["onDenied"];
}

/** See the header. */
export class NetworkObserver {
  readonly #options: NetworkObserverOptions;
  readonly #denied: DeniedPackets;
  readonly #counters: RuleCounters;
  #there = false;

  constructor(options: NetworkObserverOptions) {
    this.#options = options;
    const { log, netns, event, model, uidOf, onDenied } = options;
    this.#counters = new RuleCounters({ ruleset: model.ruleset, netns, has: (policy) => model.hasPolicy(policy) });
    this.#denied = new DeniedPackets({
      log,
      netns,
      event,
      onDenied,
      outcomeOf: (prefix) => outcomeOfPrefix(model.ruleset, prefix),
      podAt: (ip) => {
        const owner = model.ownerOf(ip);
        if (!owner || !("pod" in owner)) return undefined;
        return { ...namedBy(owner.pod), uid: uidOf(owner.pod) };
      },
      nameOf: (ip) => {
        const owner = model.ownerOf(ip);
        if (!owner) return undefined;
        return "pod" in owner ? `pod ${owner.pod}` : `node ${owner.nodes.join(", ")}`;
      },
      isolating: (direction, ip) => model.policiesAt(direction, ip).filter(({ tier }) => tier === "NetworkPolicy"),
    });
  }

  /** Whether there are rules in the kernel: what they deny is listened to as long. */
  rulesAre(there: boolean): void {
    if (this.#there === there) return;
    this.#there = there;
    this.#denied.listen(there);
  }

  stop(): Promise<void> {
    return this.#denied.stop();
  }

  /** What rules have counted, as the kernel has it now. */
  async counts(): Promise<readonly RuleCount[]> {
    if (this.#there)
      try {
        await this.#counters.read();
      } catch (error) {
        // A table that somebody has just taken away is put back, and counts anew.
        this.#options.log.debug("counters of network policies cannot be read", { error });
      }
    return this.#counters.counts;
  }

  /** Has metrics show them; those of all networks are empty when it is called. */
  async sample(): Promise<void> {
    const { network, metrics } = this.#options;
    for (const { policy, direction, verdict, packets, bytes } of await this.counts()) {
      metrics.policyPackets.inc({ network, policy, direction, verdict }, packets);
      metrics.policyBytes.inc({ network, policy, direction, verdict }, bytes);
    }
  }
}
