/**
 * Who pods are: those of a namespace with equal labels and equal named ports are one identity, so that a selector is asked once for all of
 * them. Identities are counted, and their numbers are used again.
 */
import type { Labels } from "../../semantics/selector.ts";
import type { NamedPort, Pod } from "../../semantics/types.ts";
import type { Atom } from "../atoms.ts";
import { NO_ROW } from "./pod-rows.ts";

export const NO_ATOMS: ReadonlySet<Atom> = new Set();

/** Pods that no policy can tell apart by what they are. */
export interface Identity {
  readonly id: number;
  readonly key: string;
  readonly namespace: string;
  readonly labels: Labels;
  readonly ports: readonly NamedPort[];
  /** Row of the first of its pods, which leads to the others: see pod-rows.ts. */
  first: number;
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

/** All identities that have pods. */
export class Identities {
  readonly #byKey = new Map<string, Identity>();
  readonly #byNamespace = new Map<string, Set<Identity>>();
  readonly #numbers = new Numbers();

  get size(): number {
    return this.#byKey.size;
  }

  /** The identity that a pod is to have; `isNew` when it is its first. */
  of(pod: Pod): { identity: Identity; isNew: boolean } {
    const key = identityKey(pod);
    const known = this.#byKey.get(key);
    if (known) return { identity: known, isNew: false };
    const { namespace, labels, ports } = pod;
    const id = this.#numbers.take();
    const identity: Identity = { id, key, namespace, labels, ports, first: NO_ROW, locals: 0, atoms: NO_ATOMS };
    this.#byKey.set(key, identity);
    const there = this.#byNamespace.get(namespace);
    if (there) there.add(identity);
    else this.#byNamespace.set(namespace, new Set([identity]));
    return { identity, isNew: true };
  }

  /** An identity whose last pod is gone is none. */
  tidy(identity: Identity): void {
    if (identity.first !== NO_ROW) return;
    this.#byKey.delete(identity.key);
    const there = this.#byNamespace.get(identity.namespace);
    there?.delete(identity);
    if (there?.size === 0) this.#byNamespace.delete(identity.namespace);
    this.#numbers.give(identity.id);
  }

  in(namespace: string): Iterable<Identity> {
    return this.#byNamespace.get(namespace) ?? [];
  }

  namespaces(): Iterable<string> {
    return this.#byNamespace.keys();
  }
}
