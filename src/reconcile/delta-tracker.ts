/**
 * What changed since the kernel was last made right: each entry that became another one, as it was then. A change among
 * thousands of entries is planned from its own few.
 */

/** Entries by key as they were before they changed; undefined for those that were not wanted. */
export type Changed<E> = ReadonlyMap<string, E | undefined>;

/** Keeps account of entries that live elsewhere. */
export class DeltaTracker<E> {
  readonly #entryOf: (key: string) => E | undefined;
  readonly #same: (a: E | undefined, b: E | undefined) => boolean;
  /** What changed since the last {@link begin}. */
  #changed = new Map<string, E | undefined>();
  /** What the kernel is being made right for. */
  #begun: Changed<E> = new Map();

  /** @param entryOf the entry of a key as it is now. @param same whether two entries are the same in everything */
  constructor(entryOf: (key: string) => E | undefined, same: (a: E | undefined, b: E | undefined) => boolean) {
    this.#entryOf = entryOf;
    this.#same = same;
  }

  /** The entry of that key is about to change. */
  touch(key: string): void {
    if (!this.#changed.has(key)) this.#changed.set(key, this.#entryOf(key));
  }

  /** Entries that are otherwise now than when {@link begin} was called last. */
  get changed(): Changed<E> {
    for (const [key, before] of this.#changed) {
      if (this.#same(before, this.#entryOf(key))) this.#changed.delete(key);
    }
    return this.#changed;
  }

  /** Entries of which the kernel is not known to be right. */
  *unsettled(): Generator<string> {
    yield* this.#begun.keys();
    yield* this.changed.keys();
  }

  /** Hands over what changed, for the kernel to be made right; {@link settle} or {@link putBack} must follow. */
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
