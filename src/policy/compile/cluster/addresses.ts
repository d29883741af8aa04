/** Whose addresses are, and which class they have: pods and nodes of the cluster by their addresses, which have numbers. */
import type { Family } from "../../../addr/index.ts";
import type { Labels } from "../../semantics/selector.ts";
import { AddressNumbers } from "./address-numbers.ts";
import type { Atom } from "../atoms.ts";
import type { Elements, Value } from "../ruleset.ts";

export interface NodeRecord {
  readonly kind: "node";
  readonly name: string;
  readonly labels: Labels;
  readonly ips: readonly string[];
  atoms: ReadonlySet<Atom>;
}

/** An address that domain names have. */
export interface NamedRecord {
  readonly kind: "named";
  readonly ips: readonly [string];
  /** Names, each with when it ceases to have the address, in milliseconds since the epoch; 0 where it has ceased to. */
  readonly names: Map<string, number>;
  /** What asks for a name that has the address. */
  atoms: ReadonlySet<Atom>;
}

/** A pod, by its row (pod-rows.ts), or a node. */
export type Owner = number | NodeRecord;

/** Owners by address. One address may be claimed by several for a while: a pod that came, and the object of one that is gone. */
export class Addresses {
  readonly #numbers = new AddressNumbers();
  readonly #owners: (Owner | Owner[] | undefined)[] = [];
  #classes = new Uint32Array(0);
  readonly #isLocal: (row: number) => boolean;
  /** Addresses of each family as the elements of a map, those that have a class. */
  readonly classes: Readonly<Record<Family, Elements>> = {
    4: new ClassElements(this, 4),
    6: new ClassElements(this, 6),
  };

  /** @param isLocal whether a pod is on this node, by its row */
  constructor(isLocal: (row: number) => boolean) {
    this.#isLocal = isLocal;
  }

  text(number: number): string {
    return this.#numbers.text(number);
  }

  family(number: number): Family {
    return this.#numbers.family(number);
  }

  /** The number of an address; undefined where it is nobody's and has no class. */
  find(ip: string): number | undefined {
    return this.#numbers.find(ip);
  }

  /** The number of an address, which it has from now on until {@link tidy} finds that it is nobody's and has no class. */
  numberOf(ip: string): number {
    return this.#numbers.of(ip);
  }

  add(number: number, owner: Owner): void {
    const there = this.#owners[number];
    this.#owners[number] = there === undefined ? owner : [...(Array.isArray(there) ? there : [there]), owner];
  }

  remove(number: number, owner: Owner): void {
    const there = this.#owners[number];
    const left = Array.isArray(there) ? there.filter((one) => one !== owner) : there === owner ? [] : [there];
    this.#owners[number] = left.length > 1 ? (left as Owner[]) : left[0];
  }

  /** Forgets an address that is nobody's and has no class. */
  tidy(number: number): void {
    if (this.#owners[number] !== undefined || this.classOf(number) !== 0) return;
    this.#numbers.forget(number);
  }

  /** The row of the pod that has an address: of several the one on this node, which nobody elsewhere can be, or the one that came last. */
  podAt(number: number): number | undefined {
    const there = this.#owners[number];
    if (!Array.isArray(there)) return typeof there === "number" ? there : undefined;
    const pods = there.filter((one) => typeof one === "number");
    return pods.findLast((row) => this.#isLocal(row)) ?? pods.at(-1);
  }

  nodesAt(number: number): readonly NodeRecord[] {
    const there = this.#owners[number];
    if (there === undefined || typeof there === "number") return NONE;
    return (Array.isArray(there) ? there : [there]).filter((one) => typeof one !== "number");
  }

  /** The class of an address as the rules have it; 0 where it has none of its own. */
  classOf(number: number): number {
    return this.#classes[number] ?? 0;
  }

  setClass(number: number, id: number): void {
    if (number >= this.#classes.length) {
      const classes = new Uint32Array(Math.ceil(1.25 * number) + 64);
      classes.set(this.#classes);
      this.#classes = classes;
    }
    this.#classes[number] = id;
  }

  /** Numbers of the addresses that have a class. */
  *withClass(): Generator<number> {
    for (let number = 0; number < this.#classes.length; number++) if (this.#classes[number] !== 0) yield number;
  }
}

const NONE: readonly NodeRecord[] = [];

/** The addresses of a family that have a class, as the elements of a map from their texts. */
class ClassElements implements Elements {
  readonly #addresses: Addresses;
  readonly #family: Family;
  size = 0;

  constructor(addresses: Addresses, family: Family) {
    this.#addresses = addresses;
    this.#family = family;
  }

  get(ip: string): number | undefined {
    const number = this.#addresses.find(ip);
    return (number !== undefined && this.#addresses.classOf(number)) || undefined;
  }

  set(ip: string, id: Value): void {
    const number = this.#addresses.numberOf(ip);
    if (this.#addresses.classOf(number) === 0) this.size++;
    this.#addresses.setClass(number, id as number);
  }

  delete(ip: string): void {
    const number = this.#addresses.find(ip);
    if (number === undefined || this.#addresses.classOf(number) === 0) return;
    this.size--;
    this.#addresses.setClass(number, 0);
  }

  *keys(): Generator<string> {
    for (const [ip] of this) yield ip;
  }

  *values(): Generator<number> {
    for (const [, id] of this) yield id;
  }

  *[Symbol.iterator](): Generator<[string, number]> {
    for (const number of this.#addresses.withClass())
      if (this.#addresses.family(number) === this.#family)
        yield [this.#addresses.text(number), this.#addresses.classOf(number)];
  }
}
