/** The policies of all kinds, as last known, and which of them are still to be handed on. */
import { DefinitionReflector, type KubeClient, type ReflectorOptions, type WatchState } from "../../kube/index.ts";
import type { Logger } from "../../log/index.ts";
import type { Changes, Policy } from "../../policy/index.ts";
import {
  asksForNodes,
  DEFINITION,
  KINDS,
  type PolicyObject,
  policyReflector,
  type Resource,
  RESOURCES,
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
}

type PolicyName = Pick<Policy, "kind" | "namespace" | "name">;

/** See the header. */
export class Policies {
  readonly #options: Options;
  readonly #reflectors: Readonly<Record<Resource, ReturnType<typeof policyReflector>>>;
  readonly #definition: DefinitionReflector;
  /** When the definition came or was changed. */
  #definedAt = Number.NEGATIVE_INFINITY;
  readonly #heard = new Set<Resource>();
  /** Those to be handed on, by key. */
  readonly #changed = new Map<string, { resource: Resource; name: PolicyName; key: string }>();
  readonly #faults = new Map<string, readonly string[]>();
  readonly #askForNodes = new Set<string>();
  readonly #said = new Set<string>();
  #faultsVersion = 0;

  constructor(client: KubeClient, options: Options) {
    this.#options = options;
    const reflectorOf = (resource: Resource) => {
      const reflector = policyReflector(client, resource, options.reflector, () => this.#absentMs());
      reflector.onChange(({ added, changed, removed }) => {
        this.#heard.add(resource);
        for (const one of added) this.#take(resource, one, one);
        for (const { after } of changed) this.#take(resource, after, after);
        for (const one of removed) this.#take(resource, one, undefined);
        options.onChange();
      });
      return reflector;
    };
    this.#reflectors = {
      networkpolicies: reflectorOf("networkpolicies"),
      clusternetworkpolicies: reflectorOf("clusternetworkpolicies"),
    };
    this.#definition = new DefinitionReflector(client, DEFINITION, options.reflector);
    this.#definition.onChange(() => {
      this.#definedAt = performance.now();
      this.#reflectors.clusternetworkpolicies.lookAgain();
    });
  }

  start(): void {
    this.#definition.start();
    for (const resource of RESOURCES) this.#reflectors[resource].start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#definition, ...Object.values(this.#reflectors)].map((one) => one.stop()));
  }

  /** All kinds have been heard of whole. */
  get heard(): boolean {
    return this.#heard.size === RESOURCES.length;
  }

  get presence(): "none" | "some" | "unknown" {
    if (RESOURCES.some((resource) => this.#reflectors[resource].objects.size > 0)) return "some";
    return this.heard ? "none" : "unknown";
  }

  /** Whether a policy asks by labels of nodes. */
  get askForNodes(): boolean {
    return this.#askForNodes.size > 0;
  }

  /** All of all kinds, also those of which nothing could be read. */
  *all(): Generator<PolicyObject & { kind: Policy["kind"] }> {
    for (const resource of RESOURCES)
      for (const object of this.#reflectors[resource].objects.values()) yield { ...object, kind: KINDS[resource].kind };
  }

  get faults(): ReadonlyMap<string, readonly string[]> {
    return this.#faults;
  }

  /** Another number whenever `faults` has changed. */
  get faultsVersion(): number {
    return this.#faultsVersion;
  }

  get watches(): Record<string, WatchState> {
    const kinds = RESOURCES.map((resource) => [resource, this.#reflectors[resource].state]);
    return Object.fromEntries([...kinds, ["customresourcedefinitions", this.#definition.state]]) as Record<
      string,
      WatchState
    >;
  }

  #absentMs(): number | undefined {
    const { isThere } = this.#definition;
    if (isThere === false) return UNDEFINED_MS;
    return isThere === true && performance.now() - this.#definedAt < SERVED_WITHIN_MS ? DEFINED_MS : undefined;
  }

  /** What has changed: all that is gone, and of what is there as much as is wanted. @param wanted `nodes`: also what asks for nodes */
  take(wanted: { set: boolean; nodes: boolean }): Changes {
    const [set, gone]: [Policy[], PolicyName[]] = [[], []];
    for (const [id, { resource, name, key }] of this.#changed) {
      const policy = this.#reflectors[resource].objects.get(key)?.policy;
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
