/** The policies of all kinds, as last known, and which of them are still to be handed on. */
import { DefinitionReflector, type KubeClient, type ReflectorOptions, type WatchState } from "../../kube/index.ts";
import type { UnstatedPolicy } from "../../controller/index.ts";
import type { Logger } from "../../log/index.ts";
import { ACCEPTED, type Changes, DOMAIN_NAMES, domainNamesFor, type Policy, says } from "../../policy/index.ts";
import {
  asksForNodes,
  definitionOf,
  KINDS,
  type PolicyObject,
  policyReflector,
  type Resource,
  RESOURCES,
  resourcesOf,
  type Scope,
} from "./kinds.ts";

/**
 * How soon a resource is looked for that the API server does not know: hardly ever where its definition is not there, which is watched, and
 * often just after it has come, as it takes the server a moment to serve it.
 */
const UNDEFINED_MS = 30 * 60_000;
const DEFINED_MS = 500;
const SERVED_WITHIN_MS = 60_000;
/** Policies whose faults are logged, over the agent's life; `faults` has them all. */
const MOST_SAID = 100;

interface Options {
  log: Logger;
  reflector: ReflectorOptions;
  /** Something is different; once a turn at most. */
  onChange: () => void;
  /** There are policies whose status may not say what it is to say. */
  onUnstated: () => void;
}

type PolicyName = Pick<Policy, "kind" | "namespace" | "name">;

/** A kind that is followed. */
interface FollowedKind {
  readonly reflector: ReturnType<typeof policyReflector>;
  /** Of a resource that the cluster need not have. */
  readonly definition: DefinitionReflector | undefined;
  /** When the definition came or was changed. */
  definedAt: number;
}

/** See the header. */
export class Policies {
  readonly #options: Options;
  readonly #kinds: Readonly<Record<Resource, FollowedKind>>;
  readonly #heard = new Set<Resource>();
  /** Those to be handed on, by key. */
  readonly #changed = new Map<string, { resource: Resource; name: PolicyName; key: string }>();
  readonly #faults = new Map<string, readonly string[]>();
  readonly #askForNodes = new Set<string>();
  readonly #said = new Set<string>();
  #faultsVersion = 0;

  constructor(client: KubeClient, options: Options) {
    this.#options = options;
    const follow = (resource: Resource): FollowedKind => {
      const name = definitionOf(resource);
      const definition = name === undefined ? undefined : new DefinitionReflector(client, name, options.reflector);
      const reflector = policyReflector(client, resource, options.reflector, () => this.#absentMs(resource));
      reflector.onChange(({ added, changed, removed }) => {
        this.#heard.add(resource);
        const now = [...added, ...changed.map(({ after }) => after)];
        if (now.some(({ unstated, names }) => unstated ?? names)) options.onUnstated();
        for (const one of added) this.#take(resource, one, one);
        for (const { after } of changed) this.#take(resource, after, after);
        for (const one of removed) this.#take(resource, one, undefined);
        options.onChange();
      });
      const kind: FollowedKind = { reflector, definition, definedAt: Number.NEGATIVE_INFINITY };
      definition?.onChange(() => {
        kind.definedAt = performance.now();
        reflector.lookAgain();
      });
      return kind;
    };
    this.#kinds = {
      networkpolicies: follow("networkpolicies"),
      clusternetworkpolicies: follow("clusternetworkpolicies"),
      "multi-networkpolicies": follow("multi-networkpolicies"),
    };
  }

  start(): void {
    for (const { definition } of Object.values(this.#kinds)) definition?.start();
    for (const { reflector } of Object.values(this.#kinds)) reflector.start();
  }

  async stop(): Promise<void> {
    const kinds = Object.values(this.#kinds);
    const reflectors = [
      ...kinds.map(({ reflector }) => reflector),
      ...kinds.flatMap(({ definition }) => definition ?? []),
    ];
    await Promise.all(reflectors.map((one) => one.stop()));
  }

  /** All kinds that are about these networks have been heard of whole. */
  heard(scope: Scope): boolean {
    return resourcesOf(scope).every((resource) => this.#heard.has(resource));
  }

  presence(scope: Scope): "none" | "some" | "unknown" {
    if (resourcesOf(scope).some((resource) => this.#kinds[resource].reflector.objects.size > 0)) return "some";
    return this.heard(scope) ? "none" : "unknown";
  }

  /** Whether a policy asks by labels of nodes. */
  get askForNodes(): boolean {
    return this.#askForNodes.size > 0;
  }

  /** All that are about these networks, also those of which nothing could be read. */
  *all(scope: Scope): Generator<PolicyObject & { kind: Policy["kind"] }> {
    for (const resource of resourcesOf(scope))
      for (const object of this.#kinds[resource].reflector.objects.values())
        yield { ...object, kind: KINDS[resource].kind };
  }

  /** Whether there are policies of the cluster. */
  get anyOfCluster(): boolean {
    return this.#kinds.clusternetworkpolicies.reflector.objects.size > 0;
  }

  /** Policies of the cluster whose status does not say what it is to say. @param causes why nodes cannot keep domain names, by node */
  unstated(causes: ReadonlyMap<string, string>): UnstatedPolicy[] {
    const all = this.#kinds.clusternetworkpolicies.reflector.objects.values();
    return [...all].flatMap(({ name, uid, generation, unstated, names }) => {
      const wanted = names?.has ? domainNamesFor(causes, generation) : undefined;
      const otherwise = !says(names?.said, wanted);
      if (!unstated && !otherwise) return [];
      const conditions = { ...(unstated && { [ACCEPTED]: unstated }), ...(otherwise && { [DOMAIN_NAMES]: wanted }) };
      return { name, uid, generation, conditions };
    });
  }

  get faults(): ReadonlyMap<string, readonly string[]> {
    return this.#faults;
  }

  /** Another number whenever `faults` has changed. */
  get faultsVersion(): number {
    return this.#faultsVersion;
  }

  get watches(): Record<string, WatchState> {
    const kinds = RESOURCES.map((resource) => [resource, this.#kinds[resource].reflector.state]);
    const definitions = RESOURCES.flatMap((resource) => {
      const { definition } = this.#kinds[resource];
      return definition ? [[`customresourcedefinitions ${definitionOf(resource)}`, definition.state]] : [];
    });
    return Object.fromEntries([...kinds, ...definitions]) as Record<string, WatchState>;
  }

  #absentMs(resource: Resource): number | undefined {
    const { definition, definedAt } = this.#kinds[resource];
    if (definition?.isThere === false) return UNDEFINED_MS;
    return definition?.isThere === true && performance.now() - definedAt < SERVED_WITHIN_MS ? DEFINED_MS : undefined;
  }

  /** What has changed: all that is gone, and of what is there as much as is wanted. @param wanted `nodes`: also what asks for nodes */
  take(wanted: { set: boolean; nodes: boolean }): Changes {
    const [set, gone]: [Policy[], PolicyName[]] = [[], []];
    for (const [id, { resource, name, key }] of this.#changed) {
      const policy = this.#kinds[resource].reflector.objects.get(key)?.policy;
      if (policy && (!wanted.set || (!wanted.nodes && this.#askForNodes.has(id)))) continue;
      this.#changed.delete(id);
      if (policy) set.push(policy);
      else gone.push(name);
    }
    return set.length + gone.length === 0 ? {} : { policies: { set, gone } };
  }

  #take(resource: Resource, { namespace, name }: PolicyObject, object: PolicyObject | undefined): void {
    const { kind } = KINDS[resource];
    const key = namespace === undefined ? name : `${namespace}/${name}`;
    const id = `${kind} ${key}`;
    this.#changed.set(id, { resource, name: { kind, namespace, name }, key });
    if (object?.policy && asksForNodes(object.policy)) this.#askForNodes.add(id);
    else this.#askForNodes.delete(id);
    this.#setFaults(id, object);
  }

  #setFaults(id: string, object: PolicyObject | undefined): void {
    const faults = object?.faults ?? [];
    const before = this.#faults.get(id) ?? [];
    if (faults.join("\n") === before.join("\n")) return;
    this.#faultsVersion++;
    if (faults.length === 0) return void this.#faults.delete(id);
    this.#faults.set(id, faults);
    if (this.#said.size >= MOST_SAID || this.#said.has(id)) return;
    this.#said.add(id);
    const effect = object?.policy ? "what cannot be read of it allows nothing" : "it is not in force";
    this.#options.log.warn(`a network policy has faults: ${effect}`, { policy: id, faults });
  }
}
