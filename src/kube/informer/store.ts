/**
 * The set of objects as far as it is known, whatever the state of the connection. It believes single events at once; of a
 * complete set it believes what is in it, and has what it leaves out confirmed (confirm.ts) before that goes.
 * What makes no sense is counted and left out, and never stops the rest.
 */
import type { BackoffOptions } from "../client/backoff.ts";
import { ChangeSet, type Identified, type Kept, keyOf } from "./changes.ts";
import { Confirmations } from "./confirm.ts";
import type { Changes, WatchState } from "../types.ts";
import { metadataOf } from "./transform.ts";
import type { WatchEvent } from "../client/watch.ts";

/** Different complaints about objects that make no sense, over the life of a set. */
const MOST_SAID = 100;

/** The logger's part that is used here; src/log's fits. */
export interface KubeLog {
  error(message: string, fields?: Readonly<Record<string, unknown>>): void;
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void;
  info(message: string, fields?: Readonly<Record<string, unknown>>): void;
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void;
}

export interface ObjectStoreOptions<T> {
  /** What the objects are, for messages: "nodes". */
  what: string;
  /** Cuts an object down. @throws TypeError when it makes no sense */
  transform: (object: unknown) => T;
  same: (a: T, b: T) => boolean;
  /** Whether an object belongs to the set; all do by default. */
  belongs?: ((object: T) => boolean) | undefined;
  /** See Source. */
  kept?: (() => Kept<T>) | undefined;
  /** See Source. */
  mostAsked?: number | undefined;
  /** Fetches one object by its key (changes.ts). @throws ApiError */
  get: (key: string, signal: AbortSignal) => Promise<unknown>;
  state: WatchState;
  log: KubeLog | undefined;
  backoff: BackoffOptions;
  /** A set that was taken for complete was not. */
  onDoubt: () => void;
  /** Ends everything. */
  signal: AbortSignal;
}

/** See the header. */
export class ObjectStore<T extends Identified> {
  /** Something was not understood, so a change may be missing: only the next complete set makes it sure again. */
  doubtful = false;
  private readonly options: ObjectStoreOptions<T>;
  private readonly set: ChangeSet<T>;
  private readonly confirmations: Confirmations;
  private readonly listeners = new Set<(changes: Changes<T>) => void>();
  private flushing = false;
  /** What was said, so that each is said once. */
  private readonly said = new Set<string>();

  constructor(options: ObjectStoreOptions<T>) {
    this.options = options;
    this.set = new ChangeSet(options.same, options.kept?.());
    this.confirmations = new Confirmations({
      get: options.get,
      onPresent: (object) => this.take(options.transform(object)),
      ...(options.mostAsked !== undefined && { mostAsked: options.mostAsked }),
      onGone: (name) => this.remove(name),
      onError: (name, error) => {
        options.state.errors++;
        if (this.isNews(`${name} ${error instanceof Error ? error.message : ""}`))
          options.log?.warn(`cannot confirm that one of ${options.what} is gone; keeping it`, { name, error });
      },
      onSettled: (wrongly) => {
        this.doubtful = true;
        options.log?.warn(`a list of ${options.what} was not complete; taking it anew`, { leftOut: wrongly });
        options.onDoubt();
      },
      onCount: (inDoubt) => {
        options.state.unconfirmed = inDoubt;
      },
      backoff: options.backoff,
      signal: options.signal,
    });
  }

  get objects(): ReadonlyMap<string, T> {
    return this.set.all;
  }

  onChange(listener: (changes: Changes<T>) => void): () => void {
    this.listeners.add(listener);
    return () => void this.listeners.delete(listener);
  }

  /** Resolves when nothing is under way. */
  idle(): Promise<void> {
    return this.confirmations.idle();
  }

  /** Takes objects over as known, without telling listeners. */
  remember(objects: readonly T[]): void {
    for (const object of objects) this.set.put(object);
    this.set.take();
  }

  /** Believes one event. @throws TypeError when it makes no sense */
  apply({ type, object }: WatchEvent): void {
    if (type === "DELETED") {
      const { name, namespace } = metadataOf(object);
      if (typeof name !== "string") throw new TypeError("a deleted object without a name");
      const key = keyOf({ name, ...(typeof namespace === "string" && namespace !== "" && { namespace }) });
      this.confirmations.settle(key);
      this.remove(key, true);
    } else if (type === "ADDED" || type === "MODIFIED") {
      const kept = this.options.transform(object);
      this.confirmations.settle(keyOf(kept));
      this.take(kept);
    } else throw new TypeError(`unknown event type ${type}`);
  }

  /** Takes a complete set over; what it leaves out stays until it is confirmed gone. */
  replace(incoming: ReadonlyMap<string, T>): void {
    const { state, log, what } = this.options;
    for (const object of incoming.values()) this.put(object);
    const missing = [...this.set.all.keys()].filter((name) => !incoming.has(name));
    if (missing.length > 0) {
      const counts = { missing: missing.length, listed: incoming.size };
      log?.warn(`a list of ${what} leaves out known ones; asking for each before it is removed`, counts);
    }
    this.confirmations.doubt(missing);
    state.synced = true;
    this.flushSoon(); // also when nothing changed: the first complete set is news by itself
  }

  /** Takes everything for gone, without asking for each: for a server that does not know the resource has no single one either. */
  clear(): void {
    this.confirmations.doubt([]);
    for (const name of this.set.all.keys()) this.remove(name);
  }

  /** An object cut down; undefined when it makes no sense. */
  read(object: unknown): T | undefined {
    return this.guarded(() => this.options.transform(object), object);
  }

  /** Runs work on something from outside; what that throws is counted. @param object that the work is about */
  guarded<R>(work: () => R, object?: unknown): R | undefined {
    try {
      return work();
    } catch (error) {
      this.malformed(error, object);
      return undefined;
    }
  }

  /** Counts something that was not understood. @param object where it is known */
  malformed(why: unknown, object?: unknown): void {
    this.doubtful = true;
    // The first, and what is wrong with an object that has a name, once; a server gone mad must not fill the disk with the rest.
    const name = nameOf(object);
    const news = name !== undefined && this.isNews(`${name} ${why instanceof Error ? why.message : ""}`);
    if (this.options.state.malformed++ % 1000 === 0 || news) {
      this.options.log?.warn(`the API server sent something that is none of ${this.options.what}`, { error: why });
    }
  }

  /** Whether a text was not said before; of more than there is room for nothing is. */
  private isNews(text: string): boolean {
    if (this.said.size >= MOST_SAID || this.said.has(text)) return false;
    this.said.add(text);
    return true;
  }

  /** Whether an object that was read is one of the set. */
  belongs(object: T): boolean {
    return this.options.belongs?.(object) ?? true;
  }

  /** Takes an object in, or out where it does not belong to the set any more. @returns whether it belongs to it */
  private take(object: T): boolean {
    const belongs = this.belongs(object);
    if (belongs) this.put(object);
    else this.remove(keyOf(object), true);
    return belongs;
  }

  private put(object: T): void {
    if (this.set.put(object)) this.flushSoon();
  }

  private remove(name: string, told = false): void {
    if (this.set.remove(name, told)) this.flushSoon();
  }

  private flushSoon(): void {
    if (this.flushing) return;
    this.flushing = true;
    setImmediate(() => {
      this.flushing = false;
      if (this.options.signal.aborted || !this.options.state.synced) return;
      const changes = this.set.take();
      for (const listener of this.listeners) {
        try {
          listener(changes);
        } catch (error) {
          this.options.log?.error(`a listener to changes of ${this.options.what} failed`, { error });
        }
      }
    });
  }
}

function nameOf(object: unknown): string | undefined {
  const { metadata } = (object ?? {}) as { metadata?: { name?: unknown } | null };
  return typeof metadata?.name === "string" ? metadata.name : undefined;
}
