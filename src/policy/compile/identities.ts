/**
 * Who pods are: those of a namespace with equal labels and equal named ports are one identity, so that a selector is asked once for all of
 * them. Identities are counted, and their numbers are used again.
 */
import type { Labels } from "../semantics/selector.ts";
import type { NamedPort, Pod } from "../semantics/types.ts";
import type { PodRecord } from "./addresses.ts";
import type { Atom } from "./atoms.ts";

const MOST_SHARED = 10_000;
export const NO_ATOMS: ReadonlySet<Atom> = new Set();

/** Pods that no policy can tell apart by what they are. */
export interface Identity {
  readonly id: number;
  readonly key: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly ports: readonly NamedPort[];
  readonly pods: PodRecord[];
  /** How many of the pods are on this node. */
  locals: number;
  /** What is asked for in policies here and holds for it. */
  atoms: ReadonlySet<Atom>;
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Text that is the same for pods of one identity. */
export function identityKey({ namespace, labels, ports }: Pod): string {
  const sorted = Object.keys(labels).sort(compare);
  const named = ports.map(({ name, protocol, port }) => `${name} ${protocol} ${port}`).sort(compare);
  return JSON.stringify([namespace, sorted.flatMap((label) => [label, labels[label]]), named]);
}

/** Numbers from 1 that are given out, and again once they are free. */
export class Numbers {
  readonly #free: number[] = [];
  #next = 1;

  take(): number {
    return this.#free.pop() ?? this.#next++;
  }

  give(number: number): void {
    this.#free.push(number);
  }
}

/** Values that are equal, as one; forgotten where too many are different. */
class Shared<T> {
  readonly #known = new Map<string, T>();

  get(key: string, value = key as T): T {
    const known = this.#known.get(key);
    if (known !== undefined) return known;
    if (this.#known.size >= MOST_SHARED) this.#known.clear();
    this.#known.set(key, value);
    return value;
  }
}

/** All identities that have pods. */
export class Identities {
  readonly #byKey = new Map<string, Identity>();
  readonly #byNamespace = new Map<string, Set<Identity>>();
  readonly #numbers = new Numbers();
  readonly #texts = new Shared<string>();
  readonly #ports = new Shared<readonly NamedPort[]>();

  get size(): number {
    return this.#byKey.size;
  }

  /** The identity that a pod is to have; `isNew` when it is its first. */
  of(pod: Pod): { identity: Identity; isNew: boolean } {
    const key = identityKey(pod);
    const known = this.#byKey.get(key);
    if (known) return { identity: known, isNew: false };
    const namespace = this.#texts.get(pod.namespace);
    const { labels, ports } = this.#shared(pod);
    const id = this.#numbers.take();
    const identity: Identity = { id, key, namespace, labels, ports, pods: [], locals: 0, atoms: NO_ATOMS };
    this.#byKey.set(key, identity);
    const there = this.#byNamespace.get(namespace);
    if (there) there.add(identity);
    else this.#byNamespace.set(namespace, new Set([identity]));
    return { identity, isNew: true };
  }

  /** A pod has its identity from now on. */
  add(pod: PodRecord): void {
    pod.identity.pods.push(pod);
    if (pod.local) pod.identity.locals++;
  }

  /** It is no more what it was; an identity without pods is none. */
  remove(pod: PodRecord): void {
    const { identity } = pod;
    const at = identity.pods.indexOf(pod);
    const last = identity.pods.pop() as PodRecord;
    if (last !== pod) identity.pods[at] = last;
    if (pod.local) identity.locals--;
    if (identity.pods.length > 0) return;
    this.#byKey.delete(identity.key);
    const there = this.#byNamespace.get(identity.namespace);
    there?.delete(identity);
    if (there?.size === 0) this.#byNamespace.delete(identity.namespace);
    this.#numbers.give(identity.id);
  }

  /** Labels and ports of a pod, in which equal texts and lists are one: of a hundred thousand pods most say what others say. */
  #shared({ labels, ports }: Pod): Pick<Identity, "labels" | "ports"> {
    const texts: Record<string, string> = {};
    for (const label of Object.keys(labels)) texts[label] = this.#texts.get(labels[label] as string);
    return { labels: texts, ports: this.#ports.get(JSON.stringify(ports), ports) };
  }

  in(namespace: string): Iterable<Identity> {
    return this.#byNamespace.get(namespace) ?? [];
  }

  namespaces(): Iterable<string> {
    return this.#byNamespace.keys();
  }
}
