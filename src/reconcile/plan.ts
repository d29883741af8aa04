/**
 * The plan: the operations that turn what there is into what should be, and no other. Entries have kinds, and kinds an order: what
 * relies on something else comes after it. So what comes is put in that order, and what goes is removed afterwards, the other way
 * round: no step leaves an entry without what it relies on. An entry that changes is replaced in place where that is possible.
 *
 * The plan of everything compares with a dump; that of a change looks at the changed entries alone, and takes what was last applied
 * for what is there. An entry's plan depends on no other's, so both come to the same.
 */
import type { Changed, DeltaTracker, Entry } from "./delta-tracker.ts";

/**
 * How entries compare with what there is, and how they are made. `E`: an entry as desired. `A`: something that is there, by the kind of
 * the entry in whose place it is. `On`: what all entries lie on. `O`: an operation.
 */
export interface EntryOperations<E extends Entry, A extends Entry, On, O> {
  /** All kinds, those first that others rely on. */
  readonly order: readonly E["kind"][];
  /** The key of the entry that has its place. */
  keyOf(there: A, on: On): string;
  isRight(entry: E, there: A, on: On): boolean;
  /** What is there once an entry has been put. */
  applied(entry: E, on: On): A;
  /** Whether an entry can take the place of what is there; if not, that is removed just before. */
  replaces(entry: E, there: A): boolean;
  /**
   * Puts an entry: in the place of something that is not it, or where nothing is known to be. Undefined where nothing has to be done
   * for it here; "waits" where it cannot be made before something else has come.
   */
  put(entry: E, there: A | undefined, on: On): O | "waits" | undefined;
  /** Takes away what nobody wants; undefined for what is not ours to remove, or goes by itself. */
  remove(there: A, on: On): O | undefined;
}

/** Operations, and the key of the entry that each is about. */
export interface Steps<O> {
  keys: string[];
  operations: O[];
}

export interface Plan<O> extends Steps<O> {
  /** Entries that cannot be made yet. */
  waiting: string[];
}

/** The steps of a plan, each kind's puts and removals, until they are put in their order. */
class Draft<E extends Entry, A extends Entry, On, O> {
  readonly #by: EntryOperations<E, A, On, O>;
  readonly #on: On;
  readonly #puts = new Map<string, Steps<O>>();
  readonly #removals = new Map<string, Steps<O>>();
  readonly #waiting: string[] = [];

  constructor(by: EntryOperations<E, A, On, O>, on: On) {
    this.#by = by;
    this.#on = on;
    for (const kind of by.order) {
      this.#puts.set(kind, { keys: [], operations: [] });
      this.#removals.set(kind, { keys: [], operations: [] });
    }
  }

  put(key: string, entry: E, there: A | undefined): void {
    const operation = this.#by.put(entry, there, this.#on);
    if (operation === "waits") return void this.#waiting.push(key);
    if (there && !this.#by.replaces(entry, there)) this.#add(this.#puts, key, there, this.#by.remove(there, this.#on));
    this.#add(this.#puts, key, entry, operation);
  }

  remove(key: string, there: A): void {
    this.#add(this.#removals, key, there, this.#by.remove(there, this.#on));
  }

  #add(to: Map<string, Steps<O>>, key: string, { kind }: Entry, operation: O | undefined): void {
    if (operation === undefined) return;
    const steps = to.get(kind);
    if (!steps) throw new Error(`entries of kind ${kind} have no place in the order`);
    steps.keys.push(key);
    steps.operations.push(operation);
  }

  finish(): Plan<O> {
    const { order } = this.#by;
    const all = [
      ...order.map((kind) => this.#puts.get(kind)),
      ...order.toReversed().map((kind) => this.#removals.get(kind)),
    ].filter((steps) => steps !== undefined);
    return {
      keys: all.flatMap(({ keys }) => keys),
      operations: all.flatMap(({ operations }) => operations),
      waiting: this.#waiting,
    };
  }
}

/** Plans everything. @param actual all that there is */
export function planAll<E extends Entry, A extends Entry, On, O>(
  { entries }: Pick<DeltaTracker<E>, "entries">,
  actual: Iterable<A>,
  by: EntryOperations<E, A, On, O>,
  on: On,
): Plan<O> {
  const draft = new Draft(by, on);
  const right = new Set<string>();
  /** What is in the place of an entry and is not it. */
  const wrong = new Map<string, A[]>();
  for (const there of actual) {
    const key = by.keyOf(there, on);
    const entry = entries.get(key);
    if (!entry) draft.remove(key, there);
    else if (!right.has(key) && by.isRight(entry, there, on)) right.add(key);
    else {
      const more = wrong.get(key);
      if (more) more.push(there);
      else wrong.set(key, [there]);
    }
  }
  for (const [key, entry] of entries) {
    const inPlace = wrong.get(key);
    const isRight = right.has(key);
    if (!isRight) draft.put(key, entry, inPlace?.[0]);
    for (const there of inPlace?.slice(isRight ? 0 : 1) ?? []) draft.remove(key, there);
  }
  return draft.finish();
}

/**
 * Plans what changed since everything was last made right.
 * @param changed the changed entries as they were then
 * @param missing entries that were desired then and could not be put in place
 */
export function planChanges<E extends Entry, A extends Entry, On, O>(
  { entries }: Pick<DeltaTracker<E>, "entries">,
  changed: Changed<E>,
  missing: ReadonlySet<string>,
  by: EntryOperations<E, A, On, O>,
  on: On,
): Plan<O> {
  const draft = new Draft(by, on);
  const plan = (key: string, former: E | undefined): void => {
    const entry = entries.get(key);
    const there = former && !missing.has(key) ? by.applied(former, on) : undefined;
    if (entry && !(there && by.isRight(entry, there, on))) draft.put(key, entry, there);
    else if (!entry && there) draft.remove(key, there);
  };
  for (const [key, former] of changed) plan(key, former);
  for (const key of missing) if (!changed.has(key)) plan(key, entries.get(key));
  return draft.finish();
}

/**
 * Whether a notification speaks against what is desired: our own changes come back as notifications, too, and say nothing new.
 * @param gone what it shows was there and is no longer
 * @returns the key of the entry that it casts doubt on
 */
export function doubtAbout<E extends Entry, A extends Entry, On, O>(
  { entries }: Pick<DeltaTracker<E>, "entries">,
  there: A,
  gone: boolean,
  by: EntryOperations<E, A, On, O>,
  on: On,
): string | undefined {
  const key = by.keyOf(there, on);
  const entry = entries.get(key);
  const fits = entry ? !gone && by.isRight(entry, there, on) : gone || by.remove(there, on) === undefined;
  return fits ? undefined : key;
}
