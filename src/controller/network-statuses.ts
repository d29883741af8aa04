/**
 * What one agent of the cluster does for all: it writes the status of each PodNetwork and of policies of the cluster (policy-statuses.ts), keeps the object
 * that shows the default network, and frees what deleted claims held (claim-sweeper.ts). A lease says which agent it is. Only what has
 * changed is written, and counts that change all the time, as when hundreds of nodes join a network, once in a while.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import type { AgentConfig } from "../config/index.ts";
import {
  ApiError,
  LeaderElector,
  type LeaderElectorOptions,
  type KubeClient,
  ObjectReflector,
  patchStatus,
} from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import {
  DEFAULT_NETWORK,
  NETWORK_ENDPOINTS,
  networkStatus,
  type Obstacle,
  parseNetworkEndpoints,
  POD_NETWORKS,
  type PodNetworkInfo,
  resolveConflicts,
} from "../crd/index.ts";
import { Task } from "../reconcile/index.ts";
import { ClaimSweeper, type ClaimSweeperOptions } from "./claim-sweeper.ts";
import { NameFaults } from "./name-faults.ts";
import { defaultObject, keepDefaultObject } from "./default-object.ts";
import { type Inputs, Membership, type NodeChanges } from "../nodes/index.ts";
import { PolicyStatuses, type PolicyStatusesOptions } from "./policy-statuses.ts";
import { letNetworkGo, type NetworkObject, readNetworkObject } from "../network-definitions/index.ts";

/** The lease, in the agents' own namespace: the right to make one there can stand in the way of nobody else's election. */
const LEASE = "skylane-networks";
/** The agents' namespace where nobody says which it is: that of manifests/skylane.yaml. */
const NAMESPACE = "skylane-system";
/** Names of namespaces are DNS labels (RFC 1123). */
const IS_NAMESPACE = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/;

/** The namespace of the agent's own pod: `POD_NAMESPACE`, by the downward API. */
export function ownNamespace(env: Readonly<Record<string, string | undefined>>): string {
  const { POD_NAMESPACE: name = "" } = env;
  return IS_NAMESPACE.test(name) ? name : NAMESPACE;
}
/** How soon a new or changed definition has its status, and how soon changed counts are written, in milliseconds. */
const SOON_MS = 200;
const COUNT_MS = 5_000;
/** Between two writes, in milliseconds: five thousand networks must not be one burst. */
const PACE_MS = 50;

type Endpoints = { name: string; uid: string; resourceVersion: string; network: string; count: number };

/** What it needs. */
export interface NetworkStatusesOptions {
  client: KubeClient;
  config: AgentConfig;
  log: Logger;
  /** Where the lease is; `skylane-system` when absent. */
  namespace?: string;
  /** Whether the API server knows the resource, and how many networks are defined. */
  defined: () => { known: boolean; count: number };
  /** Policies of the cluster: whether there are any, and those whose status does not say what it is to say. `causes`: why nodes cannot keep domain names. */
  clusterPolicies: {
    readonly anyOfCluster: boolean;
    unstated: (causes: ReadonlyMap<string, string>) => ReturnType<PolicyStatusesOptions["unstated"]>;
  };
  /** What else the agent with the Lease writes: whether there is anything, and who is told that this one has it from now on. */
  also?: { readonly wanted: boolean; look: () => void };
  /** Why agents have no part in a network; undefined when they have. */
  unserved: (network: PodNetworkInfo) => Obstacle | undefined;
  /** For tests. */
  timings?: LeaderElectorOptions["timings"] & { countMs?: number; sweep?: ClaimSweeperOptions["timings"] };
}

/** See the header. */
export class NetworkStatuses {
  readonly #o: NetworkStatusesOptions;
  readonly #candidate: LeaderElector;
  readonly #task: Task;
  readonly #policies: PolicyStatuses;
  #inputs: Inputs | undefined;
  #nodes = 0;
  #defaultVni: number | undefined;
  /** While this agent is the one. */
  #watching:
    | {
        objects: ObjectReflector<NetworkObject>;
        endpoints: ObjectReflector<Endpoints>;
        members: Membership;
        nameFaults: NameFaults;
        sweeper: ClaimSweeper;
      }
    | undefined;
  #closing: Promise<void> = Promise.resolve();

  constructor(options: NetworkStatusesOptions) {
    const { client, config, log, timings } = options;
    this.#o = options;
    this.#candidate = new LeaderElector({
      namespace: options.namespace ?? NAMESPACE,
      name: LEASE,
      client,
      identity: `${config.nodeName}_${randomUUID()}`,
      log,
      wanted: () => this.#wanted(),
      candidates: () => this.#nodes,
      onLead: () => this.#lead(),
      onLost: () => this.#lost(),
      ...(timings && { timings }),
    });
    this.#policies = new PolicyStatuses({
      client,
      log,
      leads: () => this.#candidate.leads,
      unstated: () => (this.#watching ? options.clusterPolicies.unstated(this.#watching.nameFaults.causes) : []),
    });
    this.#task = new Task(
      () => this.#write(),
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        if (attempt === 1) log.warn("the status of pod networks cannot be written; trying again", { error });
      },
    );
  }

  start(): void {
    this.#candidate.start();
  }

  /** Whether this agent is the one at this moment. */
  get leads(): boolean {
    return this.#candidate.leads;
  }

  /** New inputs, as for networks; those of the cache are of no use here. */
  update(inputs: Inputs, live: boolean, changes: NodeChanges): void {
    if (!live) return;
    this.#inputs = inputs;
    this.#watching?.members.update(changes);
    const later = this.#o.timings?.countMs ?? COUNT_MS;
    if (this.#watching && changes.size > 0) this.#task.want(later);
    // Hundreds of nodes may say so at a time, as while an update rolls.
    if (this.#watching?.nameFaults.update(changes)) this.#policies.look(later);
  }

  /** There are policies of the cluster whose status may not say what it is to say. */
  policiesUnstated(): void {
    this.#policies.look();
  }

  /** The default network's VNI is known now. */
  vniKnown(vni: number): void {
    this.#defaultVni = vni;
    if (this.#watching) this.#task.want(SOON_MS);
  }

  async stop(): Promise<void> {
    await this.#candidate.stop();
    await Promise.all([this.#task.stop(), this.#policies.stop(), this.#closing]);
  }

  #wanted(): boolean {
    if (!this.#inputs) return false;
    this.#nodes = [...this.#inputs.nodes].length;
    if (this.#o.clusterPolicies.anyOfCluster || this.#o.also?.wanted) return true;
    const { known, count } = this.#o.defined();
    // Whether there is to be one does not depend on the VNI.
    return known && (count > 0 || defaultObject(this.#o.config, 1) !== undefined);
  }

  #lead(): void {
    const { client, log, timings } = this.#o;
    log.info("this node's agent writes the status of pod networks and of policies of the cluster from now on");
    this.#policies.look();
    this.#o.also?.look();
    const same = <T extends { resourceVersion: string }>(a: T, b: T): boolean =>
      a.resourceVersion === b.resourceVersion;
    const objects = new ObjectReflector<NetworkObject>(
      client,
      { what: "pod networks and their status", path: POD_NETWORKS, parse: readNetworkObject, same },
      { log },
    );
    const endpoints = new ObjectReflector<Endpoints>(
      client,
      { what: "endpoints of bridged networks", path: NETWORK_ENDPOINTS, parse: countEndpoints, same },
      { log },
    );
    const later = timings?.countMs ?? COUNT_MS;
    // What we write ourselves comes back as a change of status alone; counts that change all the time would be written at that pace.
    objects.onChange(({ added, changed, removed }) => {
      const otherwise = changed.some(({ before, after }) => !sameSpec(before, after));
      this.#task.want(otherwise || added.length + removed.length > 0 ? SOON_MS : later);
    });
    endpoints.onChange(() => this.#task.want(later));
    const sweeper = new ClaimSweeper({ client, log, ...(timings?.sweep && { timings: timings.sweep }) });
    const nodes = [...(this.#inputs?.nodes ?? [])];
    const [members, nameFaults] = [new Membership(nodes), new NameFaults(nodes)];
    this.#watching = { objects, endpoints, members, nameFaults, sweeper };
    objects.start();
    sweeper.start();
  }

  #lost(): void {
    this.#o.log.info("this node's agent no longer writes the status of pod networks and of policies of the cluster");
    const watching = this.#watching;
    this.#watching = undefined;
    if (!watching) return;
    const { objects, endpoints, sweeper } = watching;
    this.#closing = Promise.all([this.#closing, objects.stop(), endpoints.stop(), sweeper.stop()]).then(
      () => undefined,
    );
  }

  async #write(): Promise<void> {
    const watching = this.#watching;
    if (!watching?.objects.synced || !this.#o.defined().known) return;
    const { client, config } = this.#o;
    const vni = this.#defaultVni;
    if (vni === undefined) return;
    const wanted = defaultObject(config, vni);
    const current = (): boolean => this.#watching === watching && this.#candidate.leads;
    const all = watching.objects.objects;
    if (current()) await keepDefaultObject(client, wanted, all.get(DEFAULT_NETWORK)?.object, current);
    const obstacles = this.#obstacles(all.values(), vni);
    const now = new Date().toISOString();
    const bridged = [...all.values()].some(({ name, info }) => info?.mode === "Bridged" && !obstacles.has(name));
    if (bridged) watching.endpoints.start();
    const counts = bridged && watching.endpoints.synced ? countsOf(watching.endpoints.objects.values()) : undefined;
    let deleting = false;
    for (const network of all.values()) {
      const { name, info, resourceVersion } = network;
      // Its last node may have died, so that nobody left the network.
      if (info?.deleting && current()) {
        if (await letNetworkGo(client, network)) continue;
        deleting = true;
      }
      const facts = {
        obstacle: obstacles.get(name),
        nodes: watching.members.of(name === DEFAULT_NETWORK ? config.network : name),
        ...(info?.mode === "Bridged" && counts && { endpoints: counts.get(name) ?? 0 }),
      };
      const status = networkStatus(network, facts, now);
      if (!status) continue;
      if (!current()) return;
      await this.#patch(name, status, resourceVersion);
      await delay(PACE_MS);
    }
    if (deleting) this.#task.want(this.#o.timings?.countMs ?? COUNT_MS);
  }

  async #patch(name: string, status: Readonly<Record<string, unknown>>, resourceVersion: string): Promise<void> {
    try {
      await patchStatus(this.#o.client, POD_NETWORKS, name, status, resourceVersion);
    } catch (error) {
      // Changed or deleted meanwhile: the watch will show it, and what it is then is judged anew.
      if (!(error instanceof ApiError && (error.status === 409 || error.isGone(name)))) throw error;
      this.#task.want(SOON_MS);
    }
  }

  /** Why networks cannot be, by name. */
  #obstacles(objects: Iterable<NetworkObject>, defaultVni: number): Map<string, Obstacle> {
    const obstacles = new Map<string, Obstacle>();
    const infos: PodNetworkInfo[] = [];
    for (const { name, info, fault } of objects) {
      if (info) infos.push(info);
      else if (name !== DEFAULT_NETWORK) obstacles.set(name, { reason: "Invalid", message: fault ?? "" });
    }
    const { accepted, refused } = resolveConflicts(infos, defaultVni);
    for (const { network, reason, message } of refused) obstacles.set(network.name, { reason, message });
    for (const [name, info] of accepted) {
      if (info.deleting) {
        const what = "it was deleted: it takes no more pods, and goes when the last pod that is in it has gone";
        obstacles.set(name, { reason: "Deleting", message: what });
        continue;
      }
      const obstacle = this.#o.unserved(info);
      if (obstacle !== undefined) obstacles.set(name, obstacle);
    }
    return obstacles;
  }
}

function sameSpec(a: NetworkObject, b: NetworkObject): boolean {
  const spec = ({ object }: NetworkObject): string => JSON.stringify((object as { spec?: unknown }).spec);
  return a.uid === b.uid && spec(a) === spec(b);
}

function countEndpoints(object: unknown): Endpoints {
  const { name, uid, resourceVersion, network, endpoints } = parseNetworkEndpoints(object);
  return { name, uid, resourceVersion, network, count: endpoints.length };
}

function countsOf(all: Iterable<Endpoints>): Map<string, number> {
  const counts = new Map<string, number>();
  for (const { network, count } of all) counts.set(network, (counts.get(network) ?? 0) + count);
  return counts;
}
