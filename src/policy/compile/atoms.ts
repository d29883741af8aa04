/**
 * Atoms: the questions that policies in force here ask about who is at the other end, each once, however many rules ask it. "Is it a pod
 * with these labels in those namespaces?", "Is it a node like this?", "Is the address in this block?", "Has the pod a port of this name?", "Has one of these
 * domain names the address?"
 */
import type { Family } from "../../addr/index.ts";
import { selects, type Selector } from "../semantics/selector.ts";
import type { Block, PodSelection } from "../semantics/types.ts";
import { type Interval, intervalsOf, lastOf, union, without } from "./blocks.ts";
import { type Identity, Numbers } from "./cluster/identities.ts";

interface AtomBase {
  readonly id: number;
  readonly key: string;
  /** How many profiles ask. */
  refs: number;
}

export interface PodsAtom extends AtomBase {
  readonly kind: "pods";
  readonly selection: PodSelection;
  /** Namespaces in which pods may be selected. */
  readonly namespaces: Set<string>;
}

export interface PortNameAtom extends AtomBase {
  readonly kind: "port";
  readonly name: string;
}

export interface NodesAtom extends AtomBase {
  readonly kind: "nodes";
  readonly nodes: Selector;
}

export interface BlockAtom extends AtomBase {
  readonly kind: "block";
  readonly family: Family;
  readonly intervals: readonly Interval[];
}

export interface NamesAtom extends AtomBase {
  readonly kind: "names";
  readonly names: readonly string[];
}

export type Atom = PodsAtom | PortNameAtom | NodesAtom | BlockAtom | NamesAtom;

/** Blocks as a rule asks for them: whether an address is in the intervals, or whether it is not. */
export interface BlockQuestion {
  /** None: everybody, or nobody where `inside`. */
  intervals: readonly Interval[];
  inside: boolean;
}

/**
 * All blocks of a rule as one, or what is outside of them where that has fewer pods in it: "everything but the metadata service" would
 * otherwise be something that each pod of the cluster has to be told to be in.
 * @param podsInside whether most pods of the family are inside
 */
export function questionOf(
  blocks: readonly Block[],
  family: Family,
  podsInside: (intervals: readonly Interval[]) => boolean,
): BlockQuestion {
  const inside = union(blocks.flatMap(intervalsOf));
  if (!podsInside(inside)) return { intervals: inside, inside: true };
  return { intervals: without({ first: 0n, last: lastOf(family) }, inside), inside: false };
}

/** What an atom is made of, before it has a number. */
export type AtomSpec =
  | { kind: "pods"; selection: PodSelection }
  | { kind: "port"; name: string }
  | { kind: "nodes"; nodes: Selector }
  | { kind: "names"; names: readonly string[] }
  | { kind: "block"; family: Family; intervals: readonly Interval[] };

function keyOfSpec(spec: AtomSpec): string {
  switch (spec.kind) {
    case "pods": {
      const { namespace, namespaces, pods } = spec.selection;
      return JSON.stringify(["pods", namespace ?? null, namespaces?.key ?? null, pods.key]);
    }
    case "port":
      return JSON.stringify(["port", spec.name]);
    case "nodes":
      return JSON.stringify(["nodes", spec.nodes.key]);
    case "names":
      return JSON.stringify(["names", ...new Set(spec.names)]);
    default:
      return `block ${spec.family} ${spec.intervals.map(({ first, last }) => `${first}-${last}`).join()}`;
  }
}

/** All atoms in use, counted. */
export class Atoms {
  readonly #byKey = new Map<string, Atom>();
  readonly #numbers = new Numbers();

  /** The atom that a spec stands for, used once more; `isNew` when nobody asked before. */
  acquire(spec: AtomSpec): { atom: Atom; isNew: boolean } {
    const key = keyOfSpec(spec);
    const known = this.#byKey.get(key);
    if (known) {
      known.refs++;
      return { atom: known, isNew: false };
    }
    const base = { id: this.#numbers.take(), key, refs: 1 };
    const atom: Atom = spec.kind === "pods" ? { ...base, ...spec, namespaces: new Set() } : { ...base, ...spec };
    this.#byKey.set(key, atom);
    return { atom, isNew: true };
  }

  /** Used once less. What nobody uses stays until it is forgotten: it may be taken up again at once. */
  release(atom: Atom): void {
    atom.refs--;
  }

  /** Atoms that nobody uses. */
  dead(): Atom[] {
    return [...this.#byKey.values()].filter(({ refs }) => refs === 0);
  }

  /** Forgets atoms, whose numbers are free then. */
  forget(dead: readonly Atom[]): void {
    for (const { key, id } of dead) {
      this.#byKey.delete(key);
      this.#numbers.give(id);
    }
  }

  /** Those of a kind that somebody uses. */
  *of<K extends Atom["kind"]>(kind: K): Generator<Extract<Atom, { kind: K }>> {
    for (const atom of this.#byKey.values())
      if (atom.kind === kind && atom.refs > 0) yield atom as Extract<Atom, { kind: K }>;
  }

  get size(): number {
    return this.#byKey.size;
  }
}

/** Whether an identity is what an atom asks for. */
export function holdsFor(atom: PodsAtom | PortNameAtom, identity: Identity): boolean {
  if (atom.kind === "port") return identity.ports.some(({ name }) => name === atom.name);
  return atom.namespaces.has(identity.namespace) && selects(atom.selection.pods, identity.labels);
}
