/**
 * Keeps a set of API objects as the API server has it, for as long as the agent lives. client-node's informer stops for
 * good at the first 410, 429 or 500; this never does. A cycle takes the whole set when nothing usable is known, then
 * follows the watch from there until that ends, and begins again after a pause that grows with failures. While the
 * server is away, the set stays as it was.
 */
import { ApiError } from "../client/api-error.ts";
import { Backoff, pause } from "../client/backoff.ts";
import { type Identified, type Kept, keyOf } from "./changes.ts";
import type { KubeClient } from "../client/client.ts";
import { endsInitialEvents, goesBack, listPages, NoWatchList, versionOf, WATCH_LIST_QUERY } from "../client/list.ts";
import { type KubeLog, ObjectStore } from "./store.ts";
import { Refusals } from "./refusals.ts";
import { objectPath, type ReflectorOptions, type Source } from "./source.ts";
import { type ReflectorTimings, TIMINGS } from "../client/timings.ts";
import type { Changes, WatchState } from "../types.ts";
import { followWatch, type WatchEvent, WatchStalled } from "../client/watch.ts";

/** How a watch differs from the usual one. */
interface Follow {
  query: Readonly<Record<string, string>>;
  onEvent: (event: WatchEvent) => void;
  /** Limit of silence that takes precedence, in milliseconds. */
  limit?: () => number | undefined;
}

/** So many streaming lists in a row may break before their end. */
const BROKEN_LISTS = 2;

/** Whether a server refused a field selector because it does not know the field (400, fields.ParseSelector's converters). */
const isUnknownField = (error: unknown): boolean =>
  error instanceof ApiError && error.status === 400 && error.message.includes("field label not supported");

/** See the header. One `start()` and one `stop()` a life. */
export class Reflector<T extends Identified> {
  /** For metrics and status; the same object for the reflector's whole life. */
  readonly state: WatchState;
  private readonly client: KubeClient;
  private readonly source: Source<T>;
  private readonly log: KubeLog | undefined;
  private readonly timings: ReflectorTimings;
  private readonly store: ObjectStore<T>;
  private readonly backoff: Backoff;
  private readonly refusals: Refusals;
  private readonly stopping = new AbortController();
  private readonly firstSync = Promise.withResolvers<void>();
  private running: Promise<void> | undefined;
  /** Where to resume the watch; undefined when the whole set is needed. */
  private version: string | undefined;
  private watchListKnown = true;
  /** Streaming lists in a row that broke before their end. */
  private brokenLists = 0;
  /** Where it is asked for: the source's path, or its older one. */
  private path: string;
  /** What is asked for: the source's query, or its older one. */
  private query: Readonly<Record<string, string>>;
  private openedAt: number | undefined;
  /** Ends the watch under way, to begin the next cycle. */
  /** Ends the attempt that is under way, where its watch is not wanted any more. */
  private ending = new AbortController();
  /** Ends the wait for a resource that the server does not know. */
  private endAbsence: () => void = () => undefined;

  constructor(client: KubeClient, source: Source<T>, options: ReflectorOptions = {}) {
    this.client = client;
    this.source = source;
    this.path = source.path;
    this.query = source.query;
    this.log = options.log;
    this.timings = { ...TIMINGS, ...options.timings };
    this.state = {
      connected: false,
      since: this.timings.now(),
      synced: false,
      events: 0,
      relists: 0,
      errors: 0,
      malformed: 0,
      unconfirmed: 0,
    };
    this.backoff = new Backoff(this.timings);
    this.refusals = new Refusals(source.what, options.log, source.consequence);
    this.store = new ObjectStore({
      ...source,
      get: (key, signal) => client.json({ path: objectPath(this.path, key), accept: source.accept.object, signal }),
      onDoubt: () => {
        this.version = undefined;
        this.ending.abort();
      },
      state: this.state,
      log: options.log,
      backoff: this.timings,
      signal: this.stopping.signal,
    });
  }

  /** The set as last known, by name or `<namespace>/<name>`; the same map for the reflector's whole life. */
  get objects(): ReadonlyMap<string, T> {
    return this.store.objects;
  }

  /** A complete set was received since the start. */
  get synced(): boolean {
    return this.state.synced;
  }

  /** Resolves with the first complete set, never rejects. */
  whenSynced(): Promise<void> {
    return this.firstSync.promise;
  }

  /**
   * Calls back with every batch of changes, at most once a turn; returns the function that ends it. With the first
   * complete set it calls back even when that is empty.
   */
  onChange(listener: (changes: Changes<T>) => void): () => void {
    return this.store.onChange(listener);
  }

  /**
   * Takes objects over that an earlier run knew, before the start: the first complete set is held against them, and
   * one that it leaves out goes only when the server has said so about it. Listeners are not told of them by themselves.
   */
  remember(objects: readonly T[]): void {
    this.store.remember(objects);
  }

  start(): void {
    this.running ??= this.run();
  }

  /** The server may know the resource by now, or a later version of it: it is looked for at once, where it is not known. */
  lookAgain(): void {
    this.endAbsence();
    if (this.path === this.source.path) return;
    this.version = undefined;
    this.ending.abort();
  }

  /** Ends the watch and everything under way. Nobody is called back any more. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
    await this.store.idle();
  }

  private async run(): Promise<void> {
    const { signal } = this.stopping;
    while (!signal.aborted) {
      let wait: number;
      try {
        await this.cycle();
        wait = this.afterCycle();
      } catch (error) {
        if (signal.aborted) break;
        // What the server did not answer because we hung up is no failure.
        wait = this.ending.signal.aborted ? this.afterCycle() : this.afterFailure(error);
      }
      const waiting = new AbortController();
      this.endAbsence = () => {
        if (this.state.absent) waiting.abort();
      };
      await pause(wait, AbortSignal.any([signal, waiting.signal]));
    }
    this.setConnected(false);
  }

  /** Accounts for a cycle that ended well; how long to wait before the next, in milliseconds. */
  private afterCycle(): number {
    return this.ended() ? 0 : this.backoff.next();
  }

  /** Same for one that failed. */
  private afterFailure(failure: unknown): number {
    this.ended();
    const refused = failure instanceof ApiError ? failure : undefined;
    // 400 also answers a resourceVersion that is none of this server's.
    if (refused?.isExpired || refused?.status === 400) this.version = undefined;
    if (this.source.optional && refused?.status === 404) return this.absent();
    this.state.errors++;
    if (refused?.status === 403) this.state.forbidden = true;
    else delete this.state.forbidden;
    this.state.lastError = failure instanceof Error ? failure.message : "unknown";
    const wait = this.backoff.next(refused?.retryAfterMs);
    this.refusals.failed(refused?.status, { error: failure, retryMs: Math.round(wait) });
    return wait;
  }

  /** The server does not know the resource, so there are none; when to look again, in milliseconds. */
  private absent(): number {
    this.version = undefined;
    if (this.refusals.absent(this.objects.size, !this.synced)) {
      this.store.clear();
      this.complete(new Map(), "list");
    }
    this.state.absent = true;
    // Not all nodes at once.
    return (this.source.absentMs?.() ?? this.timings.absentMs) * (1 + this.timings.random());
  }

  /** Whether the watch had lived long enough for the next attempt to begin without distrust. */
  private ended(): boolean {
    const { now, stableMs } = this.timings;
    const stable = this.openedAt !== undefined && now() - this.openedAt >= stableMs;
    this.openedAt = undefined;
    this.setConnected(false);
    if (this.store.doubtful) this.version = undefined;
    if (stable) this.backoff.reset();
    return stable;
  }

  private async cycle(): Promise<void> {
    const { path, olderPath } = this.source;
    if (this.version === undefined) this.path = path;
    try {
      await this.cycleAt();
    } catch (error) {
      if (olderPath === undefined || this.path === olderPath) throw error;
      if (!(error instanceof ApiError && error.status === 404)) throw error;
      this.path = olderPath;
      this.version = undefined;
      await this.cycleAt();
    }
  }

  private async cycleAt(): Promise<void> {
    try {
      await this.attempt();
    } catch (error) {
      const { olderQuery, what } = this.source;
      if (olderQuery === undefined || this.query === olderQuery || !isUnknownField(error)) throw error;
      this.query = olderQuery;
      this.log?.info(`the API server cannot select ${what} by all fields; asking for more than is needed`, { error });
      await this.attempt();
    }
  }

  private async attempt(): Promise<void> {
    this.ending = new AbortController();
    // A set that is too large for the server to stream comes in pages.
    if (this.version === undefined && this.watchListKnown && this.brokenLists < BROKEN_LISTS) {
      try {
        return await this.watchList();
      } catch (error) {
        if (!NoWatchList.isMeantBy(error) || isUnknownField(error)) throw error;
        this.watchListKnown = false;
        this.log?.info("the API server has no streaming lists; listing in pages", { error });
      }
    }
    this.version ??= await this.list();
    await this.follow({
      query: { resourceVersion: this.version },
      onEvent: (event) => this.applied(event),
    });
  }

  /** Takes the whole set in pages; the resourceVersion to watch from. */
  private async list(): Promise<string> {
    const incoming: Kept<T> = this.source.kept?.() ?? new Map<string, T>();
    const { accept, firstFromMemory, read } = this.source;
    const { path, query } = this;
    const { signal } = this.stopping;
    const onItem = (item: unknown): void => {
      const object = this.store.read(item);
      if (object && this.store.belongs(object)) incoming.set(keyOf(object), object);
    };
    this.store.doubtful = false;
    const fromMemory = firstFromMemory === true && !this.synced;
    const options = { path, query, accept: accept.list, fromMemory, signal, onItem, read };
    const version = await listPages(this.client, options);
    this.refusals.listed();
    this.complete(incoming, "list");
    return version;
  }

  /** The whole set, and the watch after it, in one stream. */
  private async watchList(): Promise<void> {
    const incoming: Kept<T> = this.source.kept?.() ?? new Map<string, T>();
    let complete = false;
    const onEvent = (event: WatchEvent): void => {
      if (complete) return this.applied(event);
      if (event.type !== "BOOKMARK") {
        const object = this.store.read(event.object);
        if (object && event.type === "DELETED") incoming.delete(keyOf(object));
        else if (object && this.store.belongs(object)) incoming.set(keyOf(object), object);
      } else if (endsInitialEvents(event.object)) {
        complete = true;
        this.version = versionOf(event.object);
        this.complete(incoming, "watchlist");
      }
    };
    this.store.doubtful = false;
    const limit = (): number | undefined => (complete ? undefined : this.timings.initialMs);
    try {
      await this.follow({ query: WATCH_LIST_QUERY, onEvent, limit });
    } catch (error) {
      // An older server takes the request for a plain watch, and its end of the initial events never comes.
      if (!complete && error instanceof WatchStalled) throw new NoWatchList({ cause: error });
      if (!complete && this.openedAt !== undefined && !this.ending.signal.aborted) this.brokenLists++;
      throw error;
    }
    if (!complete && !this.stopping.signal.aborted && !this.ending.signal.aborted) throw new NoWatchList();
  }

  private complete(incoming: ReadonlyMap<string, T>, mode: "watchlist" | "list"): void {
    this.state.mode = mode;
    this.brokenLists = 0;
    delete this.state.absent;
    delete this.state.forbidden;
    this.state.lastSync = this.timings.now();
    this.state.relists++;
    this.store.replace(incoming);
    this.firstSync.resolve();
    this.log?.debug(`all ${this.source.what} received`, { mode, count: incoming.size });
  }

  /** One event after a complete set. */
  private applied(event: WatchEvent): void {
    const version = versionOf(event.object);
    if (event.type === "BOOKMARK" && this.version !== undefined && goesBack(this.version, version)) {
      // Restored from a backup: a watch from our version would stay silent until the server has caught up with it.
      this.log?.warn("the API server's data went back in time; taking the whole set anew", {
        was: this.version,
        version,
      });
      this.store.doubtful = true;
      return this.ending.abort();
    }
    if (version !== "") this.version = version;
    if (event.type !== "BOOKMARK") this.store.apply(event);
  }

  private async follow({ query, onEvent, limit }: Follow): Promise<void> {
    const { accept, read } = this.source;
    const { path } = this;
    const { timeoutSeconds, marginMs, bookmarkMs, random, now } = this.timings;
    // Different ends on different nodes, so that they do not all come back at once.
    const seconds = Math.round(timeoutSeconds * (1 + random()));
    const usual = { watch: "true", allowWatchBookmarks: "true", timeoutSeconds: `${seconds}` };
    let bookmarks = false;
    await followWatch(this.client, {
      request: { path, query: { ...this.query, ...query, ...usual }, accept: accept.watch },
      read,
      signal: AbortSignal.any([this.stopping.signal, this.ending.signal]),
      inactivityMs: () => limit?.() ?? (bookmarks ? bookmarkMs : seconds * 1000 + marginMs),
      onOpen: () => {
        this.openedAt = now();
        this.refusals.opened();
        this.setConnected(true);
      },
      onEvent: (event) => {
        this.state.lastEvent = now();
        if (event.type === "BOOKMARK") bookmarks = true;
        else this.state.events++;
        this.store.guarded(() => onEvent(event), event.object);
      },
      onGarbage: (why) => this.store.malformed(why),
    });
  }

  private setConnected(connected: boolean): void {
    if (this.state.connected === connected) return;
    this.state.connected = connected;
    this.state.since = this.timings.now();
    if (connected) delete this.state.lastError;
  }
}
