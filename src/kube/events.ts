/**
 * Events on a Node or a Pod of it, for `kubectl describe`. They are for people: repeated ones are counted up in one object as
 * kubelet does, a flood is cut off, and nothing that goes wrong with them ever reaches the caller.
 */
import { TokenBucket } from "../reconcile/index.ts";
import { ApiError } from "./client/api-error.ts";
import { Backoff, pause } from "./client/backoff.ts";
import type { KubeClient } from "./client/client.ts";
import type { KubeLog } from "./informer/store.ts";

/** Something worth telling an operator about a Node, or about a Pod on it. */
export interface NodeEvent {
  node: string;
  /** The pod that it is about; absent: the Node itself. */
  pod?: { namespace: string; name: string; uid: string };
  type: "Normal" | "Warning";
  /** One word in CamelCase, such as "PeerRefused". */
  reason: string;
  message: string;
}

export interface EventOptions {
  log?: KubeLog;
  /** `source.component`; "skylane-agent" when absent. */
  component?: string;
  /** Milliseconds since the epoch. */
  now?: () => number;
  /** First wait after a failure, in milliseconds. */
  retryMs?: number;
}

/** Events live in the namespace of their object, those of Nodes in "default". */
const eventsOf = ({ pod }: NodeEvent): string =>
  `/api/v1/namespaces/${encodeURIComponent(pod?.namespace ?? "default")}/events`;
/** The API server's own limit of an Event's message, in bytes. */
const MAX_MESSAGE = 1000;
/** A repeated event is counted into its object for so long; the API server keeps events for an hour. */
const REMEMBERED_MS = 30 * 60_000;
const MAX_REMEMBERED = 512;
const MAX_QUEUE = 64;
/** As client-go: a burst of 25, then one every so often. */
const BURST = 25;
const REFILL_MS = 30_000;
const ATTEMPTS = 4;
const TIMEOUT_MS = 10_000;

interface Series {
  event: NodeEvent;
  name: string;
  count: number;
  first: number;
  last: number;
  /** The object exists on the server, so further ones are counted into it. */
  written: boolean;
  queued: boolean;
}

/** Emits events in the background. */
export class NodeEvents {
  private readonly client: KubeClient;
  private readonly log: KubeLog | undefined;
  private readonly component: string;
  private readonly now: () => number;
  private readonly retryMs: number;
  private readonly stopping = new AbortController();
  private readonly series = new Map<string, Series>();
  private queue: Series[] = [];
  private running: Promise<void> | undefined;
  private readonly bucket: TokenBucket;
  /** Events that were not written: too many, or the server did not take them. */
  dropped = 0;

  constructor(client: KubeClient, options: EventOptions = {}) {
    this.client = client;
    this.log = options.log;
    this.component = options.component ?? "skylane-agent";
    this.now = options.now ?? Date.now;
    this.retryMs = options.retryMs ?? 1000;
    this.bucket = new TokenBucket(BURST, REFILL_MS, this.now);
  }

  /** Returns at once and never throws. */
  emit(event: NodeEvent): void {
    const now = this.now();
    const series = this.seriesOf(event, now);
    series.count++;
    series.last = now;
    // A count that waits to be written takes this one along.
    if (series.queued) return;
    if (!this.bucket.take() || this.queue.length >= MAX_QUEUE) {
      this.dropped++;
      return;
    }
    series.queued = true;
    this.queue.push(series);
    this.running ??= this.run().finally(() => {
      this.running = undefined;
    });
  }

  /** Resolves when everything so far is written or given up. */
  async idle(): Promise<void> {
    await this.running;
  }

  /** Gives up what is not written yet. */
  async stop(): Promise<void> {
    this.stopping.abort();
    await this.running;
  }

  private seriesOf(event: NodeEvent, now: number): Series {
    const cut = { ...event, message: truncated(event.message) };
    const key = JSON.stringify([cut.node, cut.pod, cut.type, cut.reason, cut.message]);
    const known = this.series.get(key);
    if (known !== undefined && now - known.last < REMEMBERED_MS) return known;
    if (this.series.size >= MAX_REMEMBERED) this.series.delete(this.series.keys().next().value as string);
    // The name as client-go makes it: unique by time; nanoseconds are not to be had, a random part stands in.
    const suffix = `${now.toString(16)}${Math.floor(Math.random() * 0x1000000)
      .toString(16)
      .padStart(6, "0")}`;
    const fresh = {
      event: cut,
      name: `${event.pod?.name ?? event.node}.${suffix}`,
      count: 0,
      first: now,
      last: now,
      written: false,
      queued: false,
    };
    this.series.delete(key);
    this.series.set(key, fresh);
    return fresh;
  }

  private async run(): Promise<void> {
    await Promise.resolve(); // several of the same turn are one write
    for (let next = this.queue.shift(); next !== undefined; next = this.queue.shift()) {
      next.queued = false;
      if (this.stopping.signal.aborted) continue;
      await this.write(next);
    }
  }

  private async write(series: Series): Promise<void> {
    const backoff = new Backoff({ baseMs: this.retryMs, capMs: 30_000 });
    const { signal } = this.stopping;
    for (let attempt = 1; !signal.aborted; attempt++) {
      try {
        return await this.send(series, signal);
      } catch (error) {
        if (signal.aborted) return;
        const refused = error instanceof ApiError ? error : undefined;
        if (refused === undefined || !refused.isTransient || attempt >= ATTEMPTS) {
          this.dropped++;
          this.log?.warn("an Event could not be written", {
            reason: series.event.reason,
            event: series.event.message,
            error,
          });
          return;
        }
        await pause(backoff.next(refused.retryAfterMs), signal);
      }
    }
  }

  private async send(series: Series, signal: AbortSignal): Promise<void> {
    const common = { timeoutMs: TIMEOUT_MS, signal };
    const collection = eventsOf(series.event);
    const counted = { count: series.count, lastTimestamp: timestamp(series.last) };
    if (series.written) {
      try {
        const path = `${collection}/${encodeURIComponent(series.name)}`;
        const contentType = "application/merge-patch+json";
        await this.client.json({ method: "PATCH", path, contentType, body: counted, ...common });
        return;
      } catch (error) {
        if (!(error instanceof ApiError && error.status === 404)) throw error;
        series.written = false; // it has expired: begin another
      }
    }
    const { node, pod, type, reason, message } = series.event;
    const body = {
      apiVersion: "v1",
      kind: "Event",
      metadata: { name: series.name, namespace: pod?.namespace ?? "default" },
      // A Node's uid is its name, as kubelet does: that is what `kubectl describe node` looks for.
      involvedObject: pod
        ? { apiVersion: "v1", kind: "Pod", ...pod }
        : { apiVersion: "v1", kind: "Node", name: node, uid: node },
      type,
      reason,
      message,
      source: { component: this.component, host: node },
      reportingComponent: this.component,
      reportingInstance: node,
      firstTimestamp: timestamp(series.first),
      ...counted,
    };
    try {
      await this.client.json({ method: "POST", path: collection, body, ...common });
    } catch (error) {
      // An earlier attempt got through after all, only its answer did not.
      if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
    }
    series.written = true;
  }
}

/** RFC 3339 in whole seconds, as metav1.Time is written. */
const timestamp = (ms: number): string => `${new Date(ms).toISOString().slice(0, 19)}Z`;

/** At most MAX_MESSAGE bytes, without half a character at the end. */
function truncated(message: string): string {
  if (Buffer.byteLength(message) <= MAX_MESSAGE) return message;
  return `${Buffer.from(message)
    .subarray(0, MAX_MESSAGE)
    .toString("utf8")
    .replace(/\ufffd+$/, "")}…`;
}
