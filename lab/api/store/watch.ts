/**
 * One open watch: initial objects where they are asked for, then every event, bookmarks in between, one JSON line
 * or one frame of protobuf each. Events are queued by reference and turned into bytes when the socket takes them, so a slow client costs
 * little, and several events of one moment leave in one write. An object that starts or stops matching the selector
 * is ADDED or DELETED for this watch, whatever happened to it.
 */
import type { ServerResponse } from "node:http";
import { ApiError } from "../errors.ts";
import type { StoreEvent } from "./history.ts";
import { inScope, type ListOptions, type Scope } from "./list.ts";
import type { Store } from "./store.ts";
import { apiVersionOf, type JsonObject, type Metadata, type ResourceType } from "../types.ts";
import { type Projection, Version } from "./version.ts";
import { metadataMessage, WIRE_TYPE, wireEvent, wireMetadata, wireObject, wireStatus } from "../http/wire.ts";

/** Marks the bookmark that ends the initial events (meta/v1 InitialEventsAnnotationKey). */
const INITIAL_EVENTS_END = "k8s.io/initial-events-end";

/** Bytes that one write gathers. */
const WRITE_BYTES = 64 * 1024;
/** Events that may wait for a client before its watch is ended. */
const QUEUE_LIMIT = 100_000;
/** How long before its timeout a watch sends a last bookmark. */
const LAST_BOOKMARK_MS = 2000;

/** What a watch needs to know. */
export interface WatchRequest {
  store: Store;
  type: ResourceType;
  scope: Scope;
  options: ListOptions;
  projection: Projection;
  bookmarkIntervalMs: number;
  freshnessTimeoutMs: number;
  /** Switches of the faults, read again and again. */
  faults: { readonly watchesStalled: boolean; readonly bookmarks: boolean };
  /** Lets a fault hide initial objects. */
  narrow: (items: Version[]) => Version[];
}

type Item = { type: string; version: Version } | Buffer;

/** An open watch. */
export class WatchStream {
  readonly #request: WatchRequest;
  readonly #response: ServerResponse;
  readonly #timers: NodeJS.Timeout[] = [];
  #queue: Item[] = [];
  #unsubscribe: (() => void) | undefined;
  #pumping = false;
  #blocked = false;
  #ending = false;

  constructor(request: WatchRequest, response: ServerResponse) {
    this.#request = request;
    this.#response = response;
    response.on("drain", () => {
      this.#blocked = false;
      this.#pump();
    });
    response.on("close", () => this.#stop());
  }

  /** What is watched. */
  get type(): ResourceType {
    return this.#request.type;
  }

  /** Sends the header and starts. Errors of the start are ERROR events, as on the real server. */
  async start(): Promise<void> {
    const { store, options, freshnessTimeoutMs } = this.#request;
    const type = this.#wire ? `${WIRE_TYPE};stream=watch` : "application/json";
    this.#response.writeHead(200, { "Content-Type": type, "Cache-Control": "no-cache, private" });
    this.#response.flushHeaders();
    const asked = Number(options.resourceVersion || "0");
    try {
      if (options.sendInitialEvents) await store.waitFor(asked, freshnessTimeoutMs);
      this.#begin(asked);
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      this.fail(error);
    }
  }

  /** Sends an ERROR event and ends. */
  fail(error: ApiError): void {
    this.#push(this.#wire ? wireEvent("ERROR", wireStatus(error.status())) : lineOf("ERROR", error.status()));
    this.end();
  }

  /** Ends after what is queued. */
  end(): void {
    this.#ending = true;
    this.#pump();
  }

  /** Breaks the connection. */
  reset(): void {
    this.#response.destroy();
  }

  /** Sends a line that is no JSON, or half of one and the end. */
  corrupt(how: "garbage" | "truncate"): void {
    const line = how === "garbage" ? '{"type":"MODIFIED","object":{"kind":\n' : '{"type":"MODIFIED","object":{"ki';
    const frame = wireEvent("MODIFIED", Buffer.from("no object"));
    if (this.#wire) this.#push(how === "garbage" ? frame : frame.subarray(0, frame.length / 2));
    else this.#push(Buffer.from(line));
    if (how === "truncate") this.end();
  }

  /** Goes on after a stall. */
  resume(): void {
    this.#pump();
  }

  /** Everything from here to `subscribe` is one turn of the event loop, so no event falls in between. */
  #begin(asked: number): void {
    const { store, type, options, scope } = this.#request;
    if (this.#response.destroyed) return;
    const fromNow = options.resourceVersion === "" || asked === 0;
    const initial = options.sendInitialEvents || (fromNow && !this.#declinesInitial());
    if (initial) {
      for (const version of this.#request.narrow(store.list(type))) {
        if (inScope(version, scope) && options.selects(version.object)) this.#queue.push({ type: "ADDED", version });
      }
    } else if (!fromNow) {
      for (const event of store.since(type, asked)) this.#take(event);
    }
    if (options.sendInitialEvents && options.allowWatchBookmarks) {
      this.#bookmark({ annotations: { [INITIAL_EVENTS_END]: "true" } });
    }
    // A watch from the future waits for it: events up to there are not for this client.
    this.#unsubscribe = store.subscribe(type, (event) => {
      if (event.rv > asked) this.#take(event);
    });
    this.#setTimers();
    this.#pump();
  }

  /** sendInitialEvents=false is a watch from now on; only its absence means the legacy start with all objects. */
  #declinesInitial(): boolean {
    return this.#request.options.resourceVersionMatch === "NotOlderThan" && !this.#request.options.sendInitialEvents;
  }

  #setTimers(): void {
    const { options, bookmarkIntervalMs, faults } = this.#request;
    const bookmark = (): void => {
      if (faults.bookmarks && !faults.watchesStalled) this.#bookmark({});
    };
    if (options.allowWatchBookmarks) this.#timers.push(setInterval(bookmark, bookmarkIntervalMs));
    // Without a timeout of the client's the real server takes one between 30 and 60 minutes.
    const timeoutMs = (options.timeoutSeconds || 1800 + Math.random() * 1800) * 1000;
    this.#timers.push(setTimeout(() => this.end(), timeoutMs));
    if (options.allowWatchBookmarks && timeoutMs > LAST_BOOKMARK_MS) {
      this.#timers.push(setTimeout(bookmark, timeoutMs - LAST_BOOKMARK_MS));
    }
  }

  #take(event: StoreEvent): void {
    const { options, scope } = this.#request;
    const { version, previous } = event;
    if (!inScope(version, scope)) return;
    const is = event.type !== "DELETED" && options.selects(version.object);
    const was = previous !== undefined && options.selects(previous.object);
    if (is) this.#push({ type: was ? "MODIFIED" : "ADDED", version });
    else if (was)
      this.#push({ type: "DELETED", version: event.type === "DELETED" ? version : restamped(previous, event.rv) });
  }

  #bookmark(extra: Partial<Metadata>): void {
    const { type, store, projection } = this.#request;
    const kind = projection === "meta" ? "PartialObjectMetadata" : type.kind;
    const apiVersion = projection === "meta" ? "meta.k8s.io/v1" : apiVersionOf(type);
    const version = { resourceVersion: String(store.resourceVersion) };
    if (this.#wire) return this.#push(wireEvent("BOOKMARK", this.#wrapped(metadataMessage({ ...version, ...extra }))));
    const metadata = { ...version, creationTimestamp: null, ...extra };
    this.#push(lineOf("BOOKMARK", { kind, apiVersion, metadata }));
  }

  #push(item: Item): void {
    if (this.#ending) return;
    this.#queue.push(item);
    if (this.#queue.length > QUEUE_LIMIT) this.reset();
    else this.#pump();
  }

  #pump(): void {
    if (this.#pumping) return;
    this.#pumping = true;
    // At the end of this turn: what other writes of the turn add leaves with it.
    setImmediate(() => {
      this.#pumping = false;
      this.#drain();
    });
  }

  #drain(): void {
    const { watchesStalled } = this.#request.faults;
    if (this.#response.destroyed || watchesStalled) return;
    let next = 0;
    while (next < this.#queue.length && !this.#blocked) {
      const parts: Buffer[] = [];
      for (let bytes = 0; next < this.#queue.length && bytes < WRITE_BYTES; next += 1) {
        const item = this.#queue[next];
        if (item === undefined) break;
        const line = Buffer.isBuffer(item) ? [item] : this.#line(item.type, item.version);
        for (const part of line) bytes += part.length;
        parts.push(...line);
      }
      this.#blocked = !this.#response.write(Buffer.concat(parts));
    }
    this.#queue = next === this.#queue.length ? [] : this.#queue.slice(next);
    if (this.#ending && this.#queue.length === 0) this.#response.end();
  }

  #line(type: string, version: Version): Buffer[] {
    const { projection } = this.#request;
    if (this.#wire) return [wireEvent(type, this.#wrapped(version.body(projection)))];
    return [eventHead(type), version.prefix(projection), version.body(projection), EVENT_END];
  }

  get #wire(): boolean {
    return this.#request.projection === "wire" || this.#request.projection === "wholeWire";
  }

  /** A message in protobuf as an object that stands for itself: metadata is the first field of any. */
  #wrapped(message: Buffer): Buffer {
    const { projection, type } = this.#request;
    return projection === "wire" ? wireMetadata(message) : wireObject(apiVersionOf(type), type.kind, message);
  }

  #stop(): void {
    this.#unsubscribe?.();
    for (const timer of this.#timers) clearTimeout(timer);
    this.#queue = [];
  }
}

const EVENT_END = Buffer.from("}\n");
const heads = new Map<string, Buffer>();

function eventHead(type: string): Buffer {
  let head = heads.get(type);
  if (head === undefined) {
    head = Buffer.from(`{"type":"${type}","object":`);
    heads.set(type, head);
  }
  return head;
}

function lineOf(type: string, object: JsonObject): Buffer {
  return Buffer.from(`${JSON.stringify({ type, object })}\n`);
}

/** The last matching state with the resourceVersion of the change that ended the match. */
function restamped(version: Version, rv: number): Version {
  const metadata = { ...version.object.metadata, resourceVersion: String(rv) };
  return new Version(version.type, version.key, { ...version.object, metadata }, rv);
}
