/**
 * The objects of all resources, in memory, under one growing resourceVersion, as etcd keeps them. A write is
 * synchronous: it gets the next resourceVersion, goes to the journal, into the window of history and to every open
 * watch before anything else runs. So events are in order everywhere, and a watch that starts misses none.
 * The store knows no rules; those are the registry's. Tests and the lab may write here directly.
 */
import { expired, tooLargeResourceVersion } from "../errors.ts";
import { History, type StoreEvent } from "./history.ts";
import { type KubeObject, type ResourceType, resourceKey } from "../types.ts";
import { Version } from "./version.ts";

/** Where writes are kept over a restart (see journal.ts). */
export interface WriteLog {
  /** Called before the write is visible; throwing refuses the write. `object` is absent for a deletion. */
  append(entry: { rv: number; resource: string; key: string; object?: KubeObject }): void;
}

/** What a store starts with. */
export interface StoreOptions {
  types: readonly ResourceType[];
  /** Events kept per resource before the oldest are compacted. */
  historyLimit: number;
  /** State of an earlier run. */
  restored?: { rv: number; objects: readonly { resource: string; key: string; object: KubeObject }[] };
  log?: WriteLog;
}

interface Collection {
  type: ResourceType;
  objects: Map<string, Version>;
  /** Keys in order; absent after an object came or went. */
  keys: string[] | undefined;
  history: History;
  listeners: Set<(event: StoreEvent) => void>;
}

/** All objects and their recent history. */
export class Store {
  readonly #collections = new Map<string, Collection>();
  readonly #historyLimit: number;
  readonly #log: WriteLog | undefined;
  readonly #waiting = new Set<() => void>();
  #rv: number;

  constructor(options: StoreOptions) {
    this.#historyLimit = options.historyLimit;
    this.#log = options.log;
    this.#rv = options.restored?.rv ?? 1;
    for (const type of options.types) this.addType(type);
    for (const { resource, key, object } of options.restored?.objects ?? []) {
      const collection = this.#collections.get(resource);
      if (collection === undefined) continue;
      collection.objects.set(key, new Version(collection.type, key, object, Number(object.metadata.resourceVersion)));
    }
  }

  /** The resourceVersion of the last write. */
  get resourceVersion(): number {
    return this.#rv;
  }

  /** Begins to keep objects of another resource. */
  addType(type: ResourceType): void {
    this.#collections.set(resourceKey(type), {
      type,
      objects: new Map(),
      keys: undefined,
      history: new History(this.#rv, this.#historyLimit),
      listeners: new Set(),
    });
  }

  /** No longer keeps objects of a resource; those that are there are forgotten. */
  removeType(type: ResourceType): void {
    this.#collections.delete(resourceKey(type));
  }

  /** The types in the order of the table. */
  types(): ResourceType[] {
    return [...this.#collections.values()].map((collection) => collection.type);
  }

  /** The current version of an object. */
  get(type: ResourceType, key: string): Version | undefined {
    return this.#of(type).objects.get(key);
  }

  /** How many objects a resource has. */
  count(type: ResourceType): number {
    return this.#of(type).objects.size;
  }

  /**
   * Writes an object as it is; only the resourceVersion is set. Creates it when it is missing.
   * Throws what the log throws, and then nothing has changed.
   */
  put(type: ResourceType, key: string, object: KubeObject): Version {
    const collection = this.#of(type);
    const previous = collection.objects.get(key);
    const version = this.#stamp(type, key, object);
    this.#log?.append({ rv: version.rv, resource: resourceKey(type), key, object: version.object });
    collection.objects.set(key, version);
    if (previous === undefined) collection.keys = undefined;
    const kind = previous === undefined ? "ADDED" : "MODIFIED";
    this.#publish(collection, { rv: version.rv, type: kind, key, version, previous });
    return version;
  }

  /** Removes an object. Returns its last state, carrying the deletion's resourceVersion; undefined if there was none. */
  remove(type: ResourceType, key: string): Version | undefined {
    const collection = this.#of(type);
    const previous = collection.objects.get(key);
    if (previous === undefined) return undefined;
    const version = this.#stamp(type, key, previous.object);
    this.#log?.append({ rv: version.rv, resource: resourceKey(type), key });
    collection.objects.delete(key);
    collection.keys = undefined;
    this.#publish(collection, { rv: version.rv, type: "DELETED", key, version, previous });
    return version;
  }

  /** All objects of a resource in the order of their keys, now. */
  list(type: ResourceType): Version[] {
    const collection = this.#of(type);
    collection.keys ??= [...collection.objects.keys()].sort();
    return collection.keys.map((key) => collection.objects.get(key)).filter((version) => version !== undefined);
  }

  /**
   * All objects of a resource as they were at `rv`, found by undoing the events since. Throws 410 Expired when the
   * history does not reach back, 504 when `rv` lies in the future.
   */
  listAt(type: ResourceType, rv: number): Version[] {
    if (rv > this.#rv) throw tooLargeResourceVersion(rv, this.#rv);
    const collection = this.#of(type);
    if (rv < collection.history.compacted) {
      throw expired("The resourceVersion for the provided list is too old.");
    }
    const events = collection.history.since(rv);
    if (events.length === 0) return this.list(type);
    const objects = new Map(collection.objects);
    for (const event of events.toReversed()) {
      if (event.previous === undefined) objects.delete(event.key);
      else objects.set(event.key, event.previous);
    }
    return [...objects.values()].sort((a, b) => (a.key < b.key ? -1 : 1));
  }

  /** Events of a resource after `rv`. Throws 410 Expired. */
  since(type: ResourceType, rv: number): StoreEvent[] {
    return this.#of(type).history.since(rv);
  }

  /** Calls back on every later event of a resource, inside the write. Returns the way to stop. */
  subscribe(type: ResourceType, listener: (event: StoreEvent) => void): () => void {
    const { listeners } = this.#of(type);
    listeners.add(listener);
    return () => listeners.delete(listener);
  }

  /** Forgets the history of every resource up to `rv` (default: everything). Objects stay. */
  compact(rv: number = this.#rv): void {
    for (const { history } of this.#collections.values()) history.compact(Math.min(rv, this.#rv));
  }

  /** Resolves when the store has reached `rv`; rejects with 504 after `timeoutMs`, as the real server does after 3 s. */
  async waitFor(rv: number, timeoutMs: number): Promise<void> {
    if (rv <= this.#rv) return;
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(look);
        reject(tooLargeResourceVersion(rv, this.#rv));
      }, timeoutMs);
      const look = (): void => {
        if (rv > this.#rv) return;
        clearTimeout(timer);
        this.#waiting.delete(look);
        resolve();
      };
      this.#waiting.add(look);
    });
  }

  #stamp(type: ResourceType, key: string, object: KubeObject): Version {
    const rv = this.#rv + 1;
    const metadata = { ...object.metadata, resourceVersion: String(rv) };
    return new Version(type, key, { ...object, metadata }, rv);
  }

  #publish(collection: Collection, event: StoreEvent): void {
    this.#rv = event.rv;
    collection.history.push(event);
    for (const listener of collection.listeners) listener(event);
    event.previous?.forget();
    for (const look of this.#waiting) look();
  }

  #of(type: ResourceType): Collection {
    const collection = this.#collections.get(resourceKey(type));
    if (collection === undefined) throw new Error(`resource ${resourceKey(type)} is not in the table`);
    return collection;
  }
}
