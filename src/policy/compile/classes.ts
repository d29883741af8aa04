/**
 * Classes of addresses: those for which all questions of policies in force on this node have the same answers. An address has one class,
 * a number; the kernel finds it by the address, and verdicts by the class. There are as many as policies can tell apart, and
 * never more than identities and pieces of blocks.
 */
import type { NamedPort } from "../semantics/types.ts";
import type { Atom } from "./atoms.ts";
import { Numbers } from "./cluster/identities.ts";

export interface AddressClass {
  /** From 1; 0 is whatever nobody asks about. */
  readonly id: number;
  readonly key: string;
  readonly atoms: ReadonlySet<Atom>;
  /** Named ports whose names policies ask for. */
  readonly ports: readonly NamedPort[];
  refs: number;
}

/** The class of all addresses about which every answer is no. */
export const NOBODY: AddressClass = { id: 0, key: "", atoms: new Set(), ports: [], refs: 0 };

/** All classes that addresses have. */
export class Classes {
  readonly #byKey = new Map<string, AddressClass>();
  readonly #byId = new Map<number, AddressClass>();
  readonly #numbers = new Numbers();
  readonly #created = new Set<AddressClass>();
  /** Those that nobody had at some moment since the last sweep: looking through all of them would make every pod that comes wait for thousands. */
  readonly #left = new Set<AddressClass>();

  get size(): number {
    return this.#byKey.size;
  }

  all(): Iterable<AddressClass> {
    return this.#byKey.values();
  }

  byId(id: number): AddressClass {
    return this.#byId.get(id) ?? NOBODY;
  }

  /** The class of what these atoms hold for, had by one more address. */
  acquire(atoms: ReadonlySet<Atom>, ports: readonly NamedPort[]): AddressClass {
    if (atoms.size === 0) return NOBODY;
    const names = ports.map(({ name, protocol, port }) => `${name} ${protocol} ${port}`);
    const key = `${[...atoms]
      .map(({ id }) => id)
      .sort((a, b) => a - b)
      .join()}|${names.sort().join()}`;
    let found = this.#byKey.get(key);
    if (!found) {
      found = { id: this.#numbers.take(), key, atoms, ports, refs: 0 };
      this.#byKey.set(key, found);
      this.#byId.set(found.id, found);
      this.#created.add(found);
    }
    found.refs++;
    return found;
  }

  /** A class that is there is had by one more address. */
  again(one: AddressClass): AddressClass {
    if (one !== NOBODY) one.refs++;
    return one;
  }

  release(one: AddressClass): void {
    if (one !== NOBODY && --one.refs === 0) this.#left.add(one);
  }

  /** Classes that came since the last call and are still had. */
  takeCreated(): AddressClass[] {
    const created = [...this.#created];
    this.#created.clear();
    return created;
  }

  /** Forgets what no address has any more, and returns it. */
  sweep(): AddressClass[] {
    const gone = [...this.#left].filter(({ refs }) => refs === 0);
    this.#left.clear();
    for (const one of gone) {
      this.#byKey.delete(one.key);
      this.#byId.delete(one.id);
      this.#numbers.give(one.id);
    }
    return gone;
  }
}
