/**
 * The reconciler: makes one side what the desired entries say, and keeps it so.
 *
 * It is level-triggered: first start, a change, a repair and a retry are all the same pass, which compares what there is with what
 * there should be and applies the difference. Notifications never say what to do, only that a look is needed: one that fits what is
 * desired (as the echo of our own work does) is no news, any other makes the next pass begin with a dump. Between two dumps a pass
 * may take what was last applied for what is there, since a notification would have spoken against it, and looks at what changed
 * since then alone; so one change among thousands of entries costs its own few operations. An overrun, a failure to read and a long
 * time without a look all end in a dump as well.
 *
 * Each entry fails alone and is tried again with a pause of its own, whatever happens to all others meanwhile.
 *
 * What the other side is, and what its entries are, is said by a subclass.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Logger } from "../log/index.ts";
import { Backoff, type BackoffOptions } from "./backoff.ts";
import { DeltaTracker, type Entry, kindOf } from "./delta-tracker.ts";
import { type EntryOperations, type Plan, planAll, planChanges, type Steps } from "./plan.ts";
import { type PassEnd, Scheduler } from "./scheduler.ts";

/** The key under which failures of what entries lie on, and of reading what there is, are retried; no entry has it. */
export const WHOLE = "device";

/** Repairs that are described one by one in the log. */
const TOLD = 5;

/** What a pass did, for metrics. */
export interface PassReport {
  /** All that there is was read. */
  dumped: boolean;
  operations: number;
  failures: number;
  planSeconds: number;
  applySeconds: number;
}

export interface ReconcileOptions {
  logger: Logger;
  /** Something was repaired: `count` entries of a kind, or what they lie on (`device`). */
  onRepair?: (kind: string, count: number) => void;
  /** A pass has ended: the status may be another. */
  onPass?: (report: PassReport) => void;
  /** The pass could not be made at all; it is tried again. {@link Reconciler.error} says the same. */
  onError?: (error: unknown) => void;
  /** First and longest pause between attempts at what fails. */
  backoff?: BackoffOptions;
}

/** What all entries lie on: devices, as a rule. */
export interface Ground<On> {
  on: On;
  /** Entries that were seen to with it and had to be changed, by key. */
  changed?: readonly string[];
  /** Why such entries cannot be what they should be, by key. */
  refused?: ReadonlyMap<string, string>;
}

/** What {@link Reconciler.ensure} found and did. */
export interface Ensured<On> extends Ground<On> {
  /** Something of it had to be changed. */
  touched: boolean;
  /** Settings that could not be made, each in words. */
  problems: readonly string[];
}

/** An operation that was refused: its place in the list that was given, and why. */
export interface Refused {
  index: number;
  message: string;
}

/** What is there as far as is known. */
interface Known<On> {
  on: On;
  /** {@link Reconciler.ground} when it was last made right. */
  ground: object;
  /** Desired entries that are not in place. */
  missing: ReadonlySet<string>;
  problems: readonly string[];
}

const NONE: ReadonlySet<string> = new Set();

/** Keeps entries right from {@link Reconciler.start} until {@link Reconciler.stop}. See plan.ts for `E`, `A`, `On` and `O`. */
export abstract class Reconciler<E extends Entry, A extends Entry, On, O extends { op: string }> {
  protected readonly logger: Logger;
  /** The desired entries. */
  protected readonly desired = new DeltaTracker<E>();
  /** How many entries were repaired since the start, by kind. */
  protected readonly repairs = new Map<string, number>();
  readonly #options: ReconcileOptions;
  readonly #name: string;
  readonly #by: EntryOperations<E, A, On, O>;
  readonly #backoff: Backoff;
  readonly #scheduler: Scheduler;
  #known: Known<On> | undefined;
  #error: string | undefined;
  #watch: { close(): Promise<void> } | undefined;

  /** @param name what is kept right, for the log: "overlay" */
  constructor(options: ReconcileOptions, name: string, by: EntryOperations<E, A, On, O>) {
    this.#options = options;
    this.logger = options.logger;
    this.#name = name;
    this.#by = by;
    this.#backoff = new Backoff(options.backoff);
    this.#scheduler = new Scheduler({ pass: (trusted) => this.#pass(trusted), retryIn: () => this.#backoff.nextIn() });
  }

  /** How what entries lie on should be: another object when it should be otherwise. */
  protected abstract readonly ground: object;
  /** Begins to hear of changes, which end in {@link doubt}. @throws SysError */
  protected abstract watch(): { close(): Promise<void> };
  /**
   * Makes what entries lie on what it should be.
   * @param again it was right before, so that what has to be done is a repair
   */
  protected abstract ensure(again: boolean): Ensured<On>;
  /** Sees to those entries among `keys` that belong to what others lie on. */
  protected ensureFew(on: On, _keys: ReadonlySet<string>): Ground<On> {
    return { on };
  }
  /** Reads all that there is, letting the event loop turn. @param first nothing is known yet */
  protected abstract read(on: On, first: boolean): Promise<Iterable<A>>;
  /** Carries operations out in their order, letting the event loop turn. Returns those that failed and matter. */
  protected abstract apply(operations: readonly O[]): Promise<readonly Refused[]>;
  /** Whether an operation may take entries of ours along, without a word. */
  protected takesAlong(_operation: O): boolean {
    return false;
  }
  /** For the log. */
  protected abstract describe(operation: O, on: On): string;
  /** Says in the log that entries were refused for another reason than before, or for the first time. */
  protected abstract tellRefused(entries: ReadonlyMap<string, string>): void;
  /** A pass has ended. */
  protected afterPass(_on: On): void {}
  /** Gives up connections, which may be what failed; they are opened again when needed. */
  protected abstract hangUp(): void;

  /**
   * Starts watching and makes everything right for what was set so far; resolves when the first pass has ended, whether it
   * succeeded or not. Set everything before: what is there and not wanted is removed.
   * @throws SysError when no socket can be opened; Error at the second call
   */
  async start(): Promise<void> {
    if (this.#watch) throw new Error("a reconciler is started once");
    this.#watch = this.watch();
    this.#scheduler.start();
    await this.settled();
  }

  /** Looks now instead of waiting for a notification. */
  resync(reason: string): void {
    this.doubt(reason);
  }

  /** Resolves when no pass is under way or about to start; retries of failing entries may still be due later. */
  settled(): Promise<void> {
    return this.#scheduler.settled();
  }

  /** Why there is nothing for entries to lie on, or why what there is could not be read. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Whether every entry has been tried: what is missing was refused. */
  get tried(): boolean {
    if (!this.#known) return false;
    for (const key of this.#missing()) if (!this.#backoff.failing(key)) return false;
    return true;
  }

  /** Stops watching and leaves everything as it is. */
  async stop(): Promise<void> {
    await this.#scheduler.stop();
    await this.#watch?.close();
    this.hangUp();
    this.#scheduler.free();
  }

  /** What entries lie on, as far as is known. */
  protected get on(): On | undefined {
    return this.#known?.on;
  }

  /** Desired entries that are not known to be there. */
  protected get missing(): Set<string> {
    return new Set(this.#missing());
  }

  /** Why entries were refused, by key; not all of them are still desired. */
  protected get errors(): ReadonlyMap<string, string> {
    return this.#backoff.errors();
  }

  /** Settings that could not be made. */
  protected get problems(): readonly string[] {
    return this.#known?.problems ?? [];
  }

  /** Something is wanted otherwise: a pass at once. What failed and has become something else deserves a new chance with it. */
  protected change(): void {
    if (this.#backoff.size > 0) {
      const { changed } = this.desired;
      this.#backoff.keep((key) => key !== WHOLE && !changed.has(key));
    }
    this.#scheduler.change();
  }

  /** So much is wanted otherwise that all that failed deserves a new chance. */
  protected forgive(): void {
    this.#backoff.keep(() => false);
  }

  /**
   * What is known may hold no longer: a pass soon, which looks.
   * @param freed the entry that may now be possible, or {@link WHOLE}
   */
  protected doubt(reason: string, freed?: string): void {
    if (freed !== undefined) this.#backoff.clear(freed);
    if (this.#scheduler.trusted) this.logger.debug(`the ${this.#name} is looked at again`, { reason });
    this.#scheduler.doubt();
  }

  *#missing(): Generator<string> {
    const { entries } = this.desired;
    // While nothing can be read, or nothing is there to lie on, nothing is claimed to be there.
    const lost = !this.#known || this.#error !== undefined;
    const keys = lost ? entries.keys() : new Set([...(this.#known?.missing ?? []), ...this.desired.unsettled()]);
    for (const key of keys) if (entries.has(key)) yield key;
  }

  async #pass(trusted: boolean): Promise<PassEnd> {
    try {
      const [isKnown, on, report] = await this.#makeRight(trusted);
      this.desired.settle();
      this.#error = undefined;
      this.#backoff.clear(WHOLE);
      this.afterPass(on);
      this.#options.onPass?.(report);
      return isKnown ? "done" : "again";
    } catch (error) {
      this.desired.putBack();
      this.#failed(error);
      return "failed";
    }
  }

  #failed(error: unknown): void {
    this.#error = error instanceof Error ? error.message : String(error);
    if (this.#backoff.failed(WHOLE, this.#error))
      this.logger.error(`the ${this.#name} cannot be made right; it is tried again`, { error });
    this.#options.onError?.(error);
    this.hangUp();
  }

  /** Returns whether what is known afterwards may be relied on, too. */
  async #makeRight(trusted: boolean): Promise<[isKnown: boolean, on: On, report: PassReport]> {
    const start = performance.now();
    const { ground } = this;
    const known = this.#known;
    const again = known?.ground === ground;
    const ensured = trusted && known && again ? undefined : await this.#ensure(again);
    const actual = ensured && (await this.read(ensured.on, !known));
    // From here on up to the plan nothing may wait: what is desired goes on changing.
    const changed = this.desired.begin();
    const missing = known?.missing ?? NONE;
    const keys = new Set(actual ? [] : [...changed.keys(), ...missing]);
    const at: Ground<On> = ensured ?? this.ensureFew((known as Known<On>).on, keys);
    const plan = actual
      ? planAll(this.desired, actual, this.#by, at.on)
      : planChanges(this.desired, changed, missing, this.#by, at.on);
    const { due, untried } = this.#due(plan);
    const planned = performance.now();
    if (actual) await nextTurn();
    const failures = due.operations.length > 0 ? await this.apply(due.operations) : [];
    const end = performance.now();
    const failed = new Map(failures.map(({ index, message }) => [due.keys[index] as string, message]));
    for (const [key, message] of at.refused ?? []) failed.set(key, message);
    // On a device that was made otherwise because that was wanted, everything else is made anew for the same reason.
    const news = !known || (ensured?.touched && !again);
    const wasRight = (key: string): boolean => !news && !changed.has(key) && !missing.has(key);
    this.#tellRepairs(due, at, wasRight, again && ensured?.touched === true);
    const left = new Set(
      [...plan.waiting, ...untried, ...failed.keys()].filter((key) => this.desired.entries.has(key)),
    );
    this.#known = { on: at.on, ground, missing: left, problems: ensured?.problems ?? known?.problems ?? [] };
    this.#book(failed, (key) => !untried.has(key) && (actual !== undefined || keys.has(key)));
    // A removal that failed leaves something that nobody remembers.
    const isKnown =
      !due.operations.some((operation) => this.takesAlong(operation)) &&
      !failures.some(({ index }) => due.operations[index]?.op === "del");
    const report = {
      dumped: actual !== undefined,
      operations: due.operations.length,
      failures: failures.length,
      planSeconds: (planned - start) / 1000,
      applySeconds: (end - planned) / 1000,
    };
    return [isKnown, at.on, report];
  }

  /**
   * What was changed of what entries lie on is told of as well, in states that were over at once, and would have everything looked at twice. So
   * that is heard first, and seen to once more whatever it was.
   */
  async #ensure(again: boolean): Promise<Ensured<On>> {
    const ensured = this.ensure(again);
    if (!ensured.touched) return ensured;
    await nextTurn();
    this.#scheduler.looks();
    const now = this.ensure(again);
    const changed = [...(ensured.changed ?? []), ...(now.changed ?? [])];
    return { ...now, touched: true, ...(changed.length > 0 && { changed }) };
  }

  /** Leaves out what has to wait for its retry. */
  #due({ keys, operations }: Plan<O>): { due: Steps<O>; untried: Set<string> } {
    const untried = new Set<string>();
    if (this.#backoff.size === 0) return { due: { keys, operations }, untried };
    const due: Steps<O> = { keys: [], operations: [] };
    for (const [index, key] of keys.entries()) {
      if (untried.has(key) || !this.#backoff.due(key)) untried.add(key);
      else {
        due.keys.push(key);
        due.operations.push(operations[index] as O);
      }
    }
    return { due, untried };
  }

  /** Counts and logs what nobody asked for: an entry that was in place and is wanted unchanged, or one that was never ours to want. */
  #tellRepairs(
    { keys, operations }: Steps<O>,
    { on, changed = [] }: Ground<On>,
    wasRight: (key: string) => boolean,
    device: boolean,
  ): void {
    const seenTo = changed.filter(wasRight);
    const found = new Map<string, O>();
    for (const [index, key] of keys.entries())
      if (wasRight(key) && !found.has(key)) found.set(key, operations[index] as O);
    const counts = new Map<string, number>(device ? [["device", 1]] : []);
    for (const key of [...seenTo, ...found.keys()]) counts.set(kindOf(key), (counts.get(kindOf(key)) ?? 0) + 1);
    for (const [kind, count] of counts) {
      this.repairs.set(kind, (this.repairs.get(kind) ?? 0) + count);
      this.#options.onRepair?.(kind, count);
    }
    if (seenTo.length > 0) this.logger.warn(`repaired what somebody changed: ${seenTo.join(", ")}`);
    if (found.size === 0) return;
    const first = [...found.values()].slice(0, TOLD).map((operation) => this.describe(operation, on));
    const more = found.size > TOLD ? ` and ${found.size - TOLD} more` : "";
    this.logger.warn(`repaired what somebody changed: ${first.join("; ")}${more}`);
  }

  /** Notes failures, and that what was seen to does not fail any more. */
  #book(failed: ReadonlyMap<string, string>, seenTo: (key: string) => boolean): void {
    if (this.#backoff.size > 0) this.#backoff.keep((key) => key === WHOLE || failed.has(key) || !seenTo(key));
    const news = [...failed].filter(([key, message]) => this.#backoff.failed(key, message));
    if (news.length > 0) this.tellRefused(new Map(news));
  }
}
