/** The pod networks beside the default one that are defined, and which of them can be. */
import type { AgentConfig } from "../config/index.ts";
import { type KubeClient, metaOf, ObjectReflector } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import {
  infoOrFault,
  type Obstacle,
  parsePodNetwork,
  POD_NETWORKS,
  type PodNetworkInfo,
  resolveConflicts,
  sameObject,
} from "../crd/index.ts";
import { type ClusterAddresses, overlapsWithCluster } from "./network-overlaps.ts";

/** The networks that are defined. */
export interface Defined {
  accepted: ReadonlyMap<string, PodNetworkInfo>;
  /** Those that cannot be, and why. */
  refused: ReadonlyMap<string, string>;
  /** The API server has said which there are. */
  known: boolean;
}

export interface DefinedNetworksOptions {
  config: Pick<AgentConfig, "network">;
  log: Logger;
  client: KubeClient;
  /** The cluster's own addresses; undefined before they are known. */
  cluster: () => ClusterAddresses | undefined;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

/** A definition, or why it is none. */
interface Definition {
  name: string;
  uid: string;
  resourceVersion: string;
  info?: PodNetworkInfo;
  fault?: string;
}

/** Watches them from {@link start} to {@link stop}. */
export class DefinedNetworks implements Defined {
  readonly #options: DefinedNetworksOptions;
  readonly #objects: ObjectReflector<Definition>;
  #defaultVni: number | undefined;
  readonly #heard = Promise.withResolvers<void>();
  /** The API server has said which there are, and it is chosen which of them can be. */
  #known = false;
  #accepted = new Map<string, PodNetworkInfo>();
  #refused = new Map<string, string>();

  constructor(options: DefinedNetworksOptions) {
    this.#options = options;
    const source = { what: "pod networks", path: POD_NETWORKS, parse: definitionOf, same: sameDefinition };
    this.#objects = new ObjectReflector(options.client, source, { log: options.log });
  }

  /** @param onChange told after every change */
  start(onChange: () => void): void {
    this.#objects.onChange(() => {
      this.#choose();
      this.#known = true;
      this.#heard.resolve();
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

  /** Those that no pod may come into, and why. */
  get refused(): ReadonlyMap<string, string> {
    return this.#refused;
  }

  /** The cluster's own addresses may be others now. */
  look(): void {
    if (this.known) this.#choose();
  }

  /** Why a network has no part on any node, for its status; undefined when it has. */
  unserved(network: PodNetworkInfo): Obstacle | undefined {
    const message = unserved(network);
    if (message !== undefined) return { reason: "Unserved", message };
    const overlap = this.#overlapsOf([network]).get(network.name);
    return overlap === undefined ? undefined : { reason: "Overlap", message: overlap };
  }

  /** CIDRs of all that pods may come into; undefined before it is known which there are. */
  get cidrs(): readonly string[] | undefined {
    if (!this.known) return undefined;
    return [...this.#accepted.values()].flatMap(({ name, cidrs }) => (this.#refused.has(name) ? [] : cidrs));
  }

  /** The API server has said which there are. */
  get known(): boolean {
    return this.#known;
  }

  /** It does not let this agent read them. */
  get forbidden(): boolean {
    return this.#objects.state.forbidden === true;
  }

  /** Resolves when the API server has said which there are. */
  whenKnown(): Promise<void> {
    return this.#heard.promise;
  }

  /** How many are defined, whether they can be or not, and whether the API server knows the resource. */
  get defined(): { known: boolean; count: number } {
    const { objects, state } = this.#objects;
    return { known: state.synced && state.absent !== true, count: objects.size };
  }

  #choose(): void {
    const { config, log, event } = this.#options;
    const objects = [...this.#objects.objects.values()].filter(({ name }) => name !== config.network);
    const defined = objects.flatMap((one) => one.info ?? this.#before(one) ?? []);
    const { accepted, refused } = resolveConflicts(defined, this.#defaultVni);
    const refusals = new Map(refused.map(({ network, message }) => [network.name, message]));
    for (const { name, fault } of objects) if (fault !== undefined) refusals.set(name, fault);
    for (const [name, network] of accepted) {
      const message = unserved(network);
      if (message === undefined) continue;
      accepted.delete(name);
      refusals.set(name, message);
    }
    // Accepted all the same: pods that are in one already keep it, and no others come.
    for (const [name, message] of this.#overlapsOf([...accepted.values()])) refusals.set(name, message);
    for (const [name, message] of refusals) {
      if (this.#refused.get(name) === message) continue;
      log.warn(message);
      event("Warning", "SkylaneNetworkRefused", message);
    }
    this.#accepted = accepted;
    this.#refused = refusals;
  }

  /** What one that makes no sense now was before: pods that are in it keep it. */
  #before({ name, uid }: Definition): PodNetworkInfo | undefined {
    const before = this.#accepted.get(name);
    return before?.uid === uid ? before : undefined;
  }

  #overlapsOf(networks: readonly PodNetworkInfo[]): Map<string, string> {
    // Where there is no pod network, thousands of Nodes and the machine's own addresses need not be gone through.
    const cluster = networks.length === 0 ? undefined : this.#options.cluster();
    return cluster ? overlapsWithCluster(networks, cluster) : new Map();
  }
}

/** Why this release has no part in a network, in words; undefined when it has. */
function unserved({ name, directRouting }: PodNetworkInfo): string | undefined {
  if (directRouting !== "auto") return undefined;
  return `PodNetwork ${name} has directRouting: auto, which only the default network can have: in its namespace there is no underlay`;
}

function definitionOf(object: unknown): Definition {
  const { name, uid, resourceVersion } = metaOf(object);
  return { name, uid, resourceVersion, ...infoOrFault(parsePodNetwork, object) };
}

const sameDefinition = (a: Definition, b: Definition): boolean =>
  a.uid === b.uid && a.fault === b.fault && (a.info && b.info ? sameObject(a.info, b.info) : a.info === b.info);
