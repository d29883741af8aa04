/** The pod networks beside the default one that are defined, and which of them can be. */
import type { AgentConfig } from "../config/index.ts";
import { type KubeClient, ObjectReflector } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { parsePodNetwork, POD_NETWORKS, type PodNetworkInfo, resolveConflicts, sameObject } from "../networks/index.ts";
import type { Defined } from "./pod-wishes.ts";

export interface DefinedNetworksOptions {
  config: Pick<AgentConfig, "network">;
  log: Logger;
  client: KubeClient;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

/** Watches them from {@link start} to {@link stop}. */
export class DefinedNetworks implements Defined {
  readonly #options: DefinedNetworksOptions;
  readonly #objects: ObjectReflector<PodNetworkInfo>;
  #defaultVni: number | undefined;
  #accepted = new Map<string, PodNetworkInfo>();
  #refused = new Map<string, string>();

  constructor(options: DefinedNetworksOptions) {
    this.#options = options;
    const source = { what: "pod networks", path: POD_NETWORKS, parse: parsePodNetwork, same: sameObject };
    this.#objects = new ObjectReflector(options.client, source, { log: options.log });
  }

  /** @param onChange told after every change */
  start(onChange: () => void): void {
    this.#objects.onChange(() => {
      this.#choose();
      onChange();
    });
    this.#objects.start();
  }

  /** The default network's VNI is known now: no other may have it. */
  vniKnown(vni: number): void {
    this.#defaultVni = vni;
    if (this.known) this.#choose();
  }

  stop(): Promise<void> {
    return this.#objects.stop();
  }

  /** Those that can be, by name. */
  get accepted(): ReadonlyMap<string, PodNetworkInfo> {
    return this.#accepted;
  }

  /** Those that cannot be, and why. */
  get refused(): ReadonlyMap<string, string> {
    return this.#refused;
  }

  /** The API server has said which there are. */
  get known(): boolean {
    return this.#objects.synced;
  }

  /** How many are defined, whether they can be or not, and whether the API server knows the resource. */
  get defined(): { known: boolean; count: number } {
    const { objects, state } = this.#objects;
    return { known: state.synced && state.absent !== true, count: objects.size };
  }

  #choose(): void {
    const { config, log, event } = this.#options;
    const defined = [...this.#objects.objects.values()].filter(({ name }) => name !== config.network);
    const { accepted, refused } = resolveConflicts(defined, this.#defaultVni);
    const refusals = new Map(refused.map(({ network, message }) => [network.name, message]));
    for (const [name, network] of accepted) {
      const message = unserved(network);
      if (message === undefined) continue;
      accepted.delete(name);
      refusals.set(name, message);
    }
    for (const [name, message] of refusals) {
      if (this.#refused.get(name) === message) continue;
      log.warn(message);
      event("Warning", "SkylaneNetworkRefused", message);
    }
    this.#accepted = accepted;
    this.#refused = refusals;
  }
}

/** Why this release has no part in a network, in words; undefined when it has. */
export function unserved({ name, directRouting }: PodNetworkInfo): string | undefined {
  if (directRouting !== "auto") return undefined;
  return `PodNetwork ${name} has directRouting: auto, which only the default network can have: in its namespace there is no underlay`;
}
