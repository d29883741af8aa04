/**
 * The pods that policies can select, as the compiler keeps them: a row of columns each, as objects with lists of addresses take several times as much memory. What a pod
 * is, is its identity's to say; the rows of an identity's pods lead to each other.
 */
import type { Identity } from "./identities.ts";

/** In the place of a row or of an address: there is none. */
export const NO_ROW = -1;
const COLUMNS = 4;
const [FIRST, SECOND, NEXT, BEFORE] = [0, 1, 2, 3] as const;

/** See the header. */
export class PodRows {
  readonly #rows = new Map<string, number>();
  readonly #keys: (string | undefined)[] = [];
  readonly #identities: (Identity | undefined)[] = [];
  /** Of each row its first two addresses, by their numbers, and the rows behind it and before it among those of its identity. */
  #columns = new Int32Array(0);
  /** Addresses of pods that have more than two, behind the second. */
  readonly #more = new Map<number, readonly number[]>();
  /** Those on this node. */
  readonly #local = new Set<number>();
  readonly #free: number[] = [];

  get size(): number {
    return this.#rows.size;
  }

  /** namespace/name of all. */
  keys(): Iterable<string> {
    return this.#rows.keys();
  }

  find(key: string): number | undefined {
    return this.#rows.get(key);
  }

  keyOf(row: number): string {
    return this.#keys[row] as string;
  }

  identityOf(row: number): Identity {
    return this.#identities[row] as Identity;
  }

  isLocal(row: number): boolean {
    return this.#local.has(row);
  }

  /** Numbers of a pod's addresses. */
  addressesOf(row: number): number[] {
    const at = row * COLUMNS;
    const [first, second] = [this.#columns[at + FIRST] as number, this.#columns[at + SECOND] as number];
    if (second === NO_ROW) return first === NO_ROW ? [] : [first];
    return [first, second, ...(this.#more.get(row) ?? [])];
  }

  /** Rows of an identity's pods. */
  *of(identity: Identity): Generator<number> {
    for (let row = identity.first; row !== NO_ROW; row = this.#columns[row * COLUMNS + NEXT] as number) yield row;
  }

  /** A pod of that key, which has none, has a row from now on. @param addresses their numbers */
  add(key: string, identity: Identity, addresses: readonly number[], local: boolean): number {
    const row = this.#free.pop() ?? this.#keys.length;
    this.#makeRoom(row);
    this.#rows.set(key, row);
    this.#keys[row] = key;
    this.#identities[row] = identity;
    if (local) {
      this.#local.add(row);
      identity.locals++;
    }
    if (addresses.length > 2) this.#more.set(row, addresses.slice(2));
    this.#columns.set([addresses[0] ?? NO_ROW, addresses[1] ?? NO_ROW, identity.first, NO_ROW], row * COLUMNS);
    if (identity.first !== NO_ROW) this.#columns[identity.first * COLUMNS + BEFORE] = row;
    identity.first = row;
    return row;
  }

  /** Its row may be another pod's from now on. */
  remove(row: number): void {
    const identity = this.identityOf(row);
    const at = row * COLUMNS;
    const [next, before] = [this.#columns[at + NEXT] as number, this.#columns[at + BEFORE] as number];
    if (next !== NO_ROW) this.#columns[next * COLUMNS + BEFORE] = before;
    if (before === NO_ROW) identity.first = next;
    else this.#columns[before * COLUMNS + NEXT] = next;
    if (this.#local.delete(row)) identity.locals--;
    this.#more.delete(row);
    this.#rows.delete(this.keyOf(row));
    this.#keys[row] = undefined;
    this.#identities[row] = undefined;
    this.#free.push(row);
  }

  #makeRoom(row: number): void {
    if ((row + 1) * COLUMNS <= this.#columns.length) return;
    const columns = new Int32Array((Math.ceil(1.25 * row) + 16) * COLUMNS);
    columns.set(this.#columns);
    this.#columns = columns;
  }
}
