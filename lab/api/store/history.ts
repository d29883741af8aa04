/**
 * The events of one resource, oldest first, in a window: what watches are replayed from, and what lists of an
 * older resourceVersion are computed from by undoing. What fell out of the window is compacted, and asking for it
 * is answered 410, as by the real server's watch cache and by etcd.
 */
import { expired } from "../errors.ts";
import type { Version } from "./version.ts";

/** One change of one object. */
export interface StoreEvent {
  readonly rv: number;
  readonly type: "ADDED" | "MODIFIED" | "DELETED";
  readonly key: string;
  /** The new version; of a deletion the last state, carrying the deletion's resourceVersion. */
  readonly version: Version;
  /** The version before; absent for a new object. */
  readonly previous: Version | undefined;
}

/** The window of events of one resource. */
export class History {
  #events: StoreEvent[] = [];
  /** Everything up to this resourceVersion is no longer known by event. */
  #compacted: number;
  readonly #limit: number;

  /** `compacted`: the resourceVersion at which the window starts; `limit`: how many events it keeps. */
  constructor(compacted: number, limit: number) {
    this.#compacted = compacted;
    this.#limit = limit;
  }

  /** The oldest resourceVersion that can still be watched from or listed at. */
  get compacted(): number {
    return this.#compacted;
  }

  /** How many events the window holds. */
  get size(): number {
    return this.#events.length;
  }

  /** Adds the newest event; the oldest fall out in blocks, so that adding stays cheap. */
  push(event: StoreEvent): void {
    this.#events.push(event);
    const slack = Math.max(16, this.#limit >> 3);
    if (this.#events.length > this.#limit + slack) this.#dropFirst(this.#events.length - this.#limit);
  }

  /** Forgets every event up to and including `rv`. */
  compact(rv: number): void {
    this.#dropFirst(this.#after(rv));
    this.#compacted = Math.max(this.#compacted, rv);
  }

  /** Events after `rv`, oldest first. Throws 410 Expired with the real server's text when `rv` is compacted. */
  since(rv: number): StoreEvent[] {
    if (rv < this.#compacted) throw expired(`too old resource version: ${rv} (${this.#compacted})`);
    return this.#events.slice(this.#after(rv));
  }

  #dropFirst(count: number): void {
    const last = this.#events[count - 1];
    if (last === undefined) return;
    this.#compacted = Math.max(this.#compacted, last.rv);
    this.#events = this.#events.slice(count);
  }

  /** Index of the first event after `rv` (binary search: events are in order). */
  #after(rv: number): number {
    let low = 0;
    let high = this.#events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((this.#events[middle]?.rv ?? Number.POSITIVE_INFINITY) <= rv) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
