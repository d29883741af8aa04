/**
 * What the policy engine hears of the cluster: policies always, and pods, namespaces and, where a policy asks by them, nodes' labels as
 * long as there are policies; with MultiNetworkPolicies also the definitions by which these name networks. What comes is collected by name and handed on once a turn of the event loop, as it is known then, many pods in parts.
 *
 * Policies are handed on only when all has been heard that they can ask for, and so is the first of them that asks for nodes: a rule would be made
 * of nobody otherwise, and then made anew with each part.
 */
import {
  type KubeClient,
  NamespaceReflector,
  NodeLabelReflector,
  type PodEntry,
  PodReflector,
  type ReflectorOptions,
  type ReflectorTimings,
  type WatchState,
} from "../../kube/index.ts";
import type { Logger } from "../../log/index.ts";
import { type Changes, type ClusterNode, isInAudit, namedBy, type Namespace, type Pod } from "../../policy/index.ts";
import { type AttachmentDefinition, definitionReflector } from "./attachment-definitions.ts";
import { GrantedAddresses } from "./granted-addresses.ts";
import type { Scope } from "./kinds.ts";
import { Policies } from "./policies.ts";

export interface PolicySourcesOptions {
  client: KubeClient;
  log: Logger;
  nodeName: string;
  /** Prefixes that the API server gives a node's pods; undefined while nobody knows. */
  granted: (node: string) => readonly string[] | undefined;
  /** Addresses of a node itself, canonical, those in the overlay included; undefined while nobody knows. */
  nodeIps?: (node: string) => readonly string[] | undefined;
  /** What came, is different or is gone, in batches: one call a turn of the event loop. */
  onChange: (changes: Changes) => void;
  /** `presence`, `synced`, `faults`, or what definitions lead to have changed. */
  onState: () => void;
  /** There are policies of the cluster whose status may not say what it is to say. */
  onUnstated?: () => void;
  /** How long pods are followed on after the last policy is gone, in milliseconds. */
  lingerMs?: number;
  /** Pods that are handed on in one turn. */
  podsPerTurn?: number;
  timings?: Partial<ReflectorTimings>;
}

/** Policies that come and go with a deployment must not make every node list all pods each time. */
const LINGER_MS = 5 * 60_000;
const PODS_PER_TURN = 1_000;

/** What follows objects of a kind. */
interface Following<T> {
  readonly objects: ReadonlyMap<string, T>;
  readonly state: WatchState;
  stop: () => Promise<void>;
}

/** One that follows objects while there are policies. */
interface Follower<T, R extends Following<T> = Following<T>> {
  readonly reflector: R;
  /** Its first complete set has come. */
  heard: boolean;
}

interface Followed {
  pods: Follower<PodEntry, PodReflector>;
  namespaces: Follower<Named>;
}

interface Named {
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

/** See the header. */
export class PolicySources {
  readonly #options: PolicySourcesOptions;
  readonly #policies: Policies;
  readonly #addresses: GrantedAddresses;
  #followed: Followed | undefined;
  #nodes: Follower<Named> | undefined;
  #definitions: Follower<AttachmentDefinition> | undefined;
  #definitionsVersion = 0;
  /** All that policies can ask for has been handed on once since it is followed. */
  #inStep = false;
  /** Names of what is to be handed on. */
  readonly #pods = new Set<string>();
  readonly #namespaces = new Set<string>();
  readonly #nodeNames = new Set<string>();
  #regranted: Set<string> | "all" | undefined;
  #flushing: NodeJS.Immediate | undefined;
  #lingering: NodeJS.Timeout | undefined;
  #stopped = false;
  readonly #stopping = new Set<Promise<void>>();
  #told = "";

  constructor(options: PolicySourcesOptions) {
    this.#options = options;
    this.#addresses = new GrantedAddresses(options.granted);
    this.#policies = new Policies(options.client, {
      log: options.log,
      reflector: this.#reflectorOptions,
      onChange: () => this.#onPolicies(),
      onUnstated: () => options.onUnstated?.(),
    });
  }

  /** Begins to listen. */
  start(): void {
    this.#policies.start();
  }

  /** Ends everything; nobody is called back any more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#lingering);
    clearImmediate(this.#flushing);
    this.#letGo();
    await Promise.all([this.#policies.stop(), ...this.#stopping]);
  }

  /** Whether there are policies of these networks, as the API server says it; "unknown" while it has not, or does not let us read them. */
  presence(scope: Scope): "none" | "some" | "unknown" {
    return this.#policies.presence(scope);
  }

  /** Policies of these networks, and where there are some also what they can ask for, have been heard of whole, and handed on. */
  synced(scope: Scope): boolean {
    if (!this.#policies.heard(scope)) return false;
    if (this.presence(scope) === "none") return true;
    if (!this.#inStep) return false;
    return scope === "further" ? this.#definitions?.heard === true : !this.#nodesAreMissing;
  }

  /** The pod network that a NetworkAttachmentDefinition leads to, as long as there are MultiNetworkPolicies. @param key namespace/name */
  networkOf(key: string): string | undefined {
    return this.#definitions?.reflector.objects.get(key)?.network;
  }

  /** Pods of this node by namespace/name, without addresses. */
  *podsHere(): Generator<Pod> {
    const { reflector } = this.#followed?.pods ?? {};
    for (const [key, node] of reflector?.nodes() ?? []) {
      const pod = node === this.#options.nodeName ? reflector?.objects.get(key) : undefined;
      if (pod) yield policyPod(pod, []);
    }
  }

  /** A pod of this node as known now; undefined also while pods are not followed, since there are no policies. */
  pod(key: string): (Pod & { uid: string }) | undefined {
    const pod = this.podAnywhere(key);
    return pod?.node === this.#options.nodeName ? pod : undefined;
  }

  /** A pod of any node as known now. */
  podAnywhere(key: string): (Pod & { uid: string }) | undefined {
    const pod = this.#followed?.pods.reflector.objects.get(key);
    return pod && { ...this.#podOf(pod), uid: pod.uid };
  }

  /** Policies of these networks as the API server has them. */
  policies(scope: Scope): ReturnType<Policies["all"]> {
    return this.#policies.all(scope);
  }

  /** Whether there are policies of the cluster. */
  get anyOfCluster(): boolean {
    return this.#policies.anyOfCluster;
  }

  /** Policies of the cluster whose status does not say what it is to say. @param causes why nodes cannot keep domain names, by node */
  unstated(causes: ReadonlyMap<string, string>): ReturnType<Policies["unstated"]> {
    return this.#policies.unstated(causes);
  }

  /** Namespaces as known now; none while they are not followed. */
  *namespaces(): Generator<Namespace> {
    for (const one of this.#followed?.namespaces.reflector.objects.values() ?? []) yield namespaceOf(one);
  }

  /** Nodes with their addresses: these, and where a policy asks for them all others with their labels. */
  nodes(names: Iterable<string>): ClusterNode[] {
    const known = this.#nodes?.reflector.objects;
    const ips = (name: string): readonly string[] => this.#options.nodeIps?.(name) ?? [];
    return [...new Set([...names, ...(known?.keys() ?? [])])].map((name) => ({
      name,
      labels: known?.get(name)?.labels ?? {},
      ips: ips(name),
    }));
  }

  /** What nodes are given, or which addresses they have, has changed. @param nodes all by default */
  grantsChanged(nodes?: Iterable<string>): void {
    if (nodes === undefined || this.#regranted === "all") this.#regranted = "all";
    else this.#regranted = new Set([...(this.#regranted ?? []), ...nodes]);
    this.#flushSoon();
  }

  /** What could not be read of policies, by "NetworkPolicy namespace/name". */
  get faults(): ReadonlyMap<string, readonly string[]> {
    return this.#policies.faults;
  }

  /** For metrics and status; by plural of the resource, only what is watched. */
  get watches(): Readonly<Record<string, WatchState>> {
    const { pods, namespaces } = this.#followed ?? {};
    return {
      ...this.#policies.watches,
      ...(pods && { pods: pods.reflector.state }),
      ...(namespaces && { namespaces: namespaces.reflector.state }),
      ...(this.#nodes && { nodes: this.#nodes.reflector.state }),
      ...(this.#definitions && { "network-attachment-definitions": this.#definitions.reflector.state }),
    };
  }

  get #reflectorOptions(): ReflectorOptions {
    const { log, timings } = this.#options;
    return { log, ...(timings && { timings }) };
  }

  get #nodesAreMissing(): boolean {
    return this.#policies.askForNodes && this.#nodes?.heard !== true;
  }

  #onPolicies(): void {
    const further = this.presence("further") === "some";
    if (further) this.#followDefinitions();
    else this.#endDefinitions();
    if (further || this.presence("default") === "some") {
      clearTimeout(this.#lingering);
      this.#lingering = undefined;
      this.#follow();
      if (this.#policies.askForNodes) this.#followNodes();
    } else if (this.#followed)
      this.#lingering ??= setTimeout(() => {
        this.#lingering = undefined;
        this.#options.log.info("there are no network policies any more: no longer following pods and namespaces");
        this.#letGo();
      }, this.#options.lingerMs ?? LINGER_MS);
    this.#flushSoon();
  }

  #follow(): void {
    if (this.#followed || this.#stopped) return;
    const { client, nodeName, log } = this.#options;
    log.info("there are network policies: following pods and namespaces");
    const pods = new PodReflector(client, nodeName, this.#reflectorOptions);
    this.#followed = {
      pods: this.#followerOf<PodEntry, PodReflector>(pods, this.#pods),
      namespaces: this.#followerOf(new NamespaceReflector(client, this.#reflectorOptions), this.#namespaces),
    };
  }

  #followNodes(): void {
    if (this.#stopped) return;
    const { client } = this.#options;
    this.#nodes ??= this.#followerOf(new NodeLabelReflector(client, this.#reflectorOptions), this.#nodeNames);
  }

  #followDefinitions(): void {
    if (this.#definitions || this.#stopped) return;
    const reflector = definitionReflector(this.#options.client, this.#reflectorOptions);
    const follower: Follower<AttachmentDefinition> = (this.#definitions = { reflector, heard: false });
    reflector.onChange(() => {
      follower.heard = true;
      this.#definitionsVersion++;
      this.#flushSoon();
    });
    reflector.start();
  }

  /** @param names where names of what has changed go */
  #followerOf<T extends { readonly name: string; readonly key?: string }, R extends Startable<T> = Startable<T>>(
    reflector: R,
    names: Set<string>,
  ): Follower<T, R> {
    const follower: Follower<T, R> = { reflector, heard: false };
    const nameOf = ({ key, name }: T): string => key ?? name;
    reflector.onChange(({ added, changed, removed }) => {
      follower.heard = true;
      for (const one of added) names.add(nameOf(one));
      for (const { after } of changed) names.add(nameOf(after));
      for (const one of removed) names.add(nameOf(one));
      this.#flushSoon();
    });
    reflector.start();
    return follower;
  }

  /** Follows policies alone; all else is gone. */
  #letGo(): void {
    const followers: [Follower<unknown> | undefined, Set<string>][] = [
      [this.#followed?.pods, this.#pods],
      [this.#followed?.namespaces, this.#namespaces],
      [this.#nodes, this.#nodeNames],
    ];
    for (const [follower, names] of followers) {
      for (const name of follower?.reflector.objects.keys() ?? []) names.add(name);
      this.#end(follower);
    }
    this.#endDefinitions();
    this.#followed = undefined;
    this.#nodes = undefined;
    this.#inStep = false;
    this.#addresses.keep(new Set());
    this.#flushSoon();
  }

  #endDefinitions(): void {
    this.#end(this.#definitions);
    this.#definitions = undefined;
  }

  #end(follower: Follower<unknown> | undefined): void {
    if (!follower) return;
    const stopping = follower.reflector.stop().finally(() => this.#stopping.delete(stopping));
    this.#stopping.add(stopping);
  }

  #flushSoon(): void {
    if (this.#stopped) return;
    this.#flushing ??= setImmediate(() => {
      this.#flushing = undefined;
      this.#flush();
    });
  }

  #flush(): void {
    this.#takeGrants();
    const changes: Changes = { ...this.#takeNamespaces(), ...this.#takeNodes(), ...this.#takePods() };
    const { pods, namespaces } = this.#followed ?? {};
    this.#inStep ||= pods?.heard === true && namespaces?.heard === true && this.#pods.size === 0;
    Object.assign(changes, this.#policies.take({ set: this.#inStep, nodes: !this.#nodesAreMissing }));
    const { onChange, onState, log } = this.#options;
    if (Object.keys(changes).length > 0)
      try {
        onChange(changes);
      } catch (error) {
        log.error("policies, pods or namespaces could not be taken in", { error });
      }
    if (this.#pods.size > 0) this.#flushSoon();
    const [own, further] = (["default", "further"] as const).map((one) => `${this.presence(one)} ${this.synced(one)}`);
    const now = `${own} ${further} ${this.#policies.faultsVersion} ${this.#definitionsVersion}`;
    if (now === this.#told) return;
    this.#told = now;
    onState();
  }

  /** Names pods and nodes of which something else holds by now, as their nodes are given other things. */
  #takeGrants(): void {
    const regranted = this.#regranted;
    this.#regranted = undefined;
    if (regranted === undefined) return;
    const names = this.#nodes?.reflector.objects.keys() ?? [];
    for (const node of names) if (regranted === "all" || regranted.has(node)) this.#nodeNames.add(node);
    const changed = this.#addresses.changed(regranted === "all" ? undefined : regranted);
    if (changed.size === 0 || !this.#followed) return;
    const live = new Set<string>();
    for (const [key, node] of this.#followed.pods.reflector.nodes()) {
      live.add(node);
      if (changed.has(node)) this.#pods.add(key);
    }
    this.#addresses.keep(live);
  }

  #takePods(): Changes {
    const [set, gone]: [Pod[], { namespace: string; name: string }[]] = [[], []];
    for (const key of this.#pods) {
      if (set.length + gone.length >= (this.#options.podsPerTurn ?? PODS_PER_TURN)) break;
      this.#pods.delete(key);
      const pod = this.#followed?.pods.reflector.objects.get(key);
      if (pod) set.push(this.#podOf(pod));
      else gone.push(namedBy(key));
    }
    return set.length + gone.length === 0 ? {} : { pods: { set, gone } };
  }

  #podOf(pod: PodEntry): Pod {
    return policyPod(pod, this.#addresses.of(pod));
  }

  #takeNamespaces(): Changes {
    const { set, gone } = taken(this.#namespaces, this.#followed?.namespaces);
    if (set.length + gone.length === 0) return {};
    return { namespaces: { set: set.map(namespaceOf), gone } };
  }

  #takeNodes(): Changes {
    const { set, gone } = taken(this.#nodeNames, this.#nodes);
    if (set.length + gone.length === 0) return {};
    const { nodeIps } = this.#options;
    return { nodes: { set: set.map(({ name, labels }) => ({ name, labels, ips: nodeIps?.(name) ?? [] })), gone } };
  }
}

const namespaceOf = ({ name, labels, annotations }: Named): Namespace => ({
  name,
  labels,
  audit: isInAudit(annotations),
});

/** A pod as policies know it. @param ips what is believed of its addresses */
export function policyPod({ key, namespace, name, node, making }: PodEntry, ips: readonly string[]): Pod {
  const { labels, ports } = making;
  return { key, namespace, name, labels, ips, ports, node, hostNetwork: false, ended: false };
}

/** One that begins when it is told to. */
interface Startable<T> extends Following<T> {
  onChange: (listener: (changes: ReflectedChanges<T>) => void) => void;
  start: () => void;
}

/** What a reflector tells. */
interface ReflectedChanges<T> {
  readonly added: readonly T[];
  readonly changed: readonly { readonly after: T }[];
  readonly removed: readonly T[];
}

/** Takes names off a list: objects that are there, and names of those that are not. */
function taken<T>(names: Set<string>, from: Follower<T> | undefined): { set: T[]; gone: string[] } {
  const [set, gone]: [T[], string[]] = [[], []];
  for (const name of names) {
    const object = from?.reflector.objects.get(name);
    if (object === undefined) gone.push(name);
    else set.push(object);
  }
  names.clear();
  return { set, gone };
}
