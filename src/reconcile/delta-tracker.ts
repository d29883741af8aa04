/**
 * What should be, as entries in one map, and what of it changed since the other side was last made right: each entry that became
 * another one, as it was then. So a change among thousands of entries is planned from its own few.
 */

/** Something that the other side should hold, or holds; its kind says what it is. */
export interface Entry {
  readonly kind: string;
}

/** Entries by key as they were before they changed; undefined for those that were not wanted. */
export type Changed<E> = ReadonlyMap<string, E | undefined>;

/** One name for an entry, unique among all of a tracker. */
export const entryKey = (kind: string, id: string): string => `${kind} ${id}`;

/** The kind of the entry that a key names. */
export const kindOf = (key: string): string => key.slice(0, key.indexOf(" "));

/** Something of each kind. */
export const byKind = <K extends string, T>(kinds: readonly K[], of: (kind: K) => T): Record<K, T> =>
  Object.fromEntries(kinds.map((kind) => [kind, of(kind)])) as Record<K, T>;

/** Whether two entries are the same in everything. */
export function sameEntry<E extends object>(a: E | undefined, b: E | undefined): boolean {
  if (a === b) return true;
  if (!a || !b) return false;
  const keys = Object.keys(a) as (keyof E)[];
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/** Holds the desired entries and keeps account of their changes. */
export class DeltaTracker<E extends Entry> {
  readonly #entries = new Map<string, E>();
  readonly #counts = new Map<string, number>();
  /** What changed since the last {@link begin}. */
  #changed = new Map<string, E | undefined>();
  /** What the other side is being made right for. */
  #begun: Changed<E> = new Map();

  /** The desired entries by key. */
  get entries(): ReadonlyMap<string, E> {
    return this.#entries;
  }

  /** How many entries of a kind there are. */
  count(kind: E["kind"]): number {
    return this.#counts.get(kind) ?? 0;
  }

  /** Sets an entry; undefined takes it away. */
  put(key: string, entry: E | undefined): void {
    const before = this.#entries.get(key);
    if (sameEntry(before, entry)) return;
    if (!this.#changed.has(key)) this.#changed.set(key, before);
    if (entry) this.#entries.set(key, entry);
    else this.#entries.delete(key);
    if (before) this.#counts.set(before.kind, this.count(before.kind) - 1);
    if (entry) this.#counts.set(entry.kind, this.count(entry.kind) + 1);
  }

  /** Entries that are otherwise now than when {@link begin} was called last. */
  get changed(): Changed<E> {
    for (const [key, before] of this.#changed) {
      if (sameEntry(before, this.#entries.get(key))) this.#changed.delete(key);
    }
    return this.#changed;
  }

  /** Entries of which the other side is not known to be right. */
  *unsettled(): Generator<string> {
    yield* this.#begun.keys();
    yield* this.changed.keys();
  }

  /** Hands over what changed, for the other side to be made right; {@link settle} or {@link putBack} must follow. */
  begin(): Changed<E> {
    this.#begun = this.changed;
    this.#changed = new Map();
    return this.#begun;
  }

  /** What was begun is done. */
  settle(): void {
    this.#begun = new Map();
  }

  /** What was begun was not done: it has still changed. */
  putBack(): void {
    for (const [key, before] of this.#begun) this.#changed.set(key, before);
    this.#begun = new Map();
  }
}
