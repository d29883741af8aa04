/**
 * What the one agent that writes for all says in the status of ClusterNetworkPolicies (policy/api/policy-condition.ts). All agents read the same objects in the same
 * way, so one of them can say it; what nodes cannot keep they say themselves (name-faults.ts).
 */
import { setTimeout as delay } from "node:timers/promises";
import { ApiError, getObject, type KubeClient, patchStatus } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { type ConditionChanges, withConditions } from "../policy/index.ts";
import { Task } from "../reconcile/index.ts";

const CLUSTER_POLICIES = "/apis/policy.networking.k8s.io/v1alpha2/clusternetworkpolicies";
/** How soon a new or changed policy has its status, in milliseconds: several that come at once are one round. */
const SOON_MS = 200;
/** Between two writes, in milliseconds. */
const PACE_MS = 50;

/** A policy whose status does not say yet what it is to say. */
export interface UnstatedPolicy {
  name: string;
  uid: string;
  /** Which edition of it that is about. */
  generation: number | undefined;
  conditions: ConditionChanges;
}

export interface PolicyStatusesOptions {
  client: KubeClient;
  log: Logger;
  /** Whether this agent is the one. */
  leads: () => boolean;
  unstated: () => readonly UnstatedPolicy[];
}

/** See the header. */
export class PolicyStatuses {
  readonly #options: PolicyStatusesOptions;
  readonly #task: Task;

  constructor(options: PolicyStatusesOptions) {
    this.#options = options;
    this.#task = new Task(
      () => this.#write(),
      { baseMs: 1_000, maxMs: 300_000 },
      (error, attempt) => {
        if (attempt === 1)
          options.log.warn("the status of ClusterNetworkPolicies cannot be written; trying again", { error });
      },
    );
  }

  /** Policies are other ones than they were, this agent is the one from now on, or nodes say otherwise. @param delayMs in milliseconds */
  look(delayMs = SOON_MS): void {
    if (this.#options.leads()) this.#task.want(delayMs);
  }

  stop(): Promise<void> {
    return this.#task.stop();
  }

  async #write(): Promise<void> {
    const { leads, unstated } = this.#options;
    for (const policy of unstated()) {
      if (!leads()) return;
      await this.#state(policy);
      await delay(PACE_MS);
    }
  }

  async #state({ name, uid, generation, conditions: changes }: UnstatedPolicy): Promise<void> {
    const { client } = this.#options;
    const object = (await getObject(client, CLUSTER_POLICIES, name)) as Json | undefined;
    const { uid: now, generation: edition, resourceVersion } = object?.["metadata"] ?? {};
    // Another one by now: the watch tells of it, and it is looked at then.
    if (!object || now !== uid || (edition ?? undefined) !== generation) return;
    const conditions = withConditions(object, changes, new Date().toISOString());
    try {
      await patchStatus(client, CLUSTER_POLICIES, name, { conditions }, resourceVersion as string);
    } catch (error) {
      if (!(error instanceof ApiError && (error.status === 409 || error.isGone(name)))) throw error;
      this.#task.want(SOON_MS);
    }
  }
}

type Json = Readonly<Record<string, Readonly<Record<string, unknown>> | undefined>>;
