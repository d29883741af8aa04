/** Policies by the pods that they may select, each with a number that it has until it is written anew. */
import type { Direction, Policy, Namespace } from "../semantics/types.ts";
import { byPrecedence, policyKeyOf } from "../semantics/types.ts";
import { selects } from "../semantics/selector.ts";
import type { Identity } from "./cluster/identities.ts";

/** A policy as it is in force: in audit mode also where its namespace says so. */
export interface PolicyRecord {
  /** Never used again for other rules. */
  readonly version: number;
  /** As it was given, to be put in force anew where its namespace changes the mode. */
  readonly given: Policy;
  readonly policy: Policy;
  /** Whether it has rules that are about another address family in each. */
  readonly ofFamily: Readonly<Record<Direction, boolean>>;
  /** Names of ports that rules for a direction are about. */
  readonly portNames: Readonly<Record<Direction, readonly string[]>>;
}

export class Subjects {
  readonly #byKey = new Map<string, PolicyRecord>();
  readonly #byNamespace = new Map<string, Set<PolicyRecord>>();
  readonly #ofCluster = new Set<PolicyRecord>();
  #versions = 0;
  /** How often policies were written or have gone. */
  changes = 0;

  get size(): number {
    return this.#byKey.size;
  }

  keys(): Iterable<string> {
    return this.#byKey.keys();
  }

  get(key: string): PolicyRecord | undefined {
    return this.#byKey.get(key);
  }

  /** @param audit its namespace is in audit mode */
  set(given: Policy, audit: boolean): PolicyRecord {
    const key = policyKeyOf(given);
    this.delete(key);
    const policy = audit && !given.audit ? { ...given, audit } : given;
    const record: PolicyRecord = {
      version: ++this.#versions,
      given,
      policy,
      ofFamily: { ingress: hasBlocks(policy, "ingress"), egress: hasBlocks(policy, "egress") },
      portNames: { ingress: portNames(policy, "ingress"), egress: portNames(policy, "egress") },
    };
    this.changes++;
    this.#byKey.set(key, record);
    this.#placeOf(policy.subject.namespace).add(record);
    return record;
  }

  delete(key: string): PolicyRecord | undefined {
    const record = this.#byKey.get(key);
    if (!record) return undefined;
    this.changes++;
    this.#byKey.delete(key);
    const { namespace } = record.policy.subject;
    const place = this.#placeOf(namespace);
    place.delete(record);
    if (namespace !== undefined && place.size === 0) this.#byNamespace.delete(namespace);
    return record;
  }

  /** Policies of a namespace's own. */
  in(namespace: string): PolicyRecord[] {
    return [...(this.#byNamespace.get(namespace) ?? [])];
  }

  /** Policies that select an identity's pods, in the order in which they are asked. */
  selecting(identity: Identity, namespaceOf: (name: string) => Namespace | undefined): PolicyRecord[] {
    const namespace = namespaceOf(identity.namespace);
    const selected = ({ policy: { subject } }: PolicyRecord): boolean =>
      (subject.namespaces === undefined ||
        (namespace !== undefined && selects(subject.namespaces, namespace.labels))) &&
      selects(subject.pods, identity.labels);
    return [...this.#ofCluster, ...this.in(identity.namespace)]
      .filter(selected)
      .sort((a, b) => byPrecedence(a.policy, b.policy));
  }

  #placeOf(namespace: string | undefined): Set<PolicyRecord> {
    if (namespace === undefined) return this.#ofCluster;
    let place = this.#byNamespace.get(namespace);
    if (!place) this.#byNamespace.set(namespace, (place = new Set()));
    return place;
  }
}

const hasBlocks = (policy: Policy, direction: Direction): boolean =>
  policy[direction]?.some(({ peers }) => peers?.some(({ kind }) => kind === "block")) ?? false;

const portNames = (policy: Policy, direction: Direction): string[] => [
  ...new Set((policy[direction] ?? []).flatMap(({ ports }) => (ports ?? []).flatMap(({ name }) => name ?? []))),
];
