/**
 * Retries of single entries. What the kernel refuses for one peer is tried again after a pause that doubles up to a
 * ceiling, whatever happens to all other entries meanwhile.
 */

interface Failure {
  attempts: number;
  /** When it may be tried again, on the clock of {@link Backoff}. */
  retryAt: number;
  message: string;
}

export interface BackoffOptions {
  /** First pause, in milliseconds. */
  baseMs?: number;
  /** Longest pause, in milliseconds. */
  maxMs?: number;
  /** A clock in milliseconds that only goes forward. */
  now?: () => number;
}

/** Failures by key. */
export class Backoff {
  readonly #baseMs: number;
  readonly #maxMs: number;
  readonly #now: () => number;
  readonly #failures = new Map<string, Failure>();

  constructor({ baseMs = 100, maxMs = 30_000, now = () => performance.now() }: BackoffOptions = {}) {
    this.#baseMs = baseMs;
    this.#maxMs = maxMs;
    this.#now = now;
  }

  /** Notes a failure. Returns whether it is new to the reader: the first, or with another message. */
  failed(key: string, message: string): boolean {
    const before = this.#failures.get(key);
    const attempts = (before?.attempts ?? 0) + 1;
    const pause = Math.min(this.#baseMs * 2 ** Math.min(attempts - 1, 30), this.#maxMs);
    this.#failures.set(key, { attempts, retryAt: this.#now() + pause, message });
    return before?.message !== message;
  }

  /** Forgets a key: it succeeded, is no longer wanted, or has become something else. */
  clear(key: string): void {
    this.#failures.delete(key);
  }

  /** Forgets all keys that are not wanted any more. */
  keep(wanted: (key: string) => boolean): void {
    for (const key of this.#failures.keys()) if (!wanted(key)) this.#failures.delete(key);
  }

  /** Whether a key may be tried now. */
  due(key: string): boolean {
    const failure = this.#failures.get(key);
    return failure === undefined || failure.retryAt <= this.#now();
  }

  /** Whether a key failed and was not cleared since. */
  failing(key: string): boolean {
    return this.#failures.has(key);
  }

  /** Milliseconds until the first retry is due; undefined when nothing failed. */
  nextIn(): number | undefined {
    if (this.#failures.size === 0) return undefined;
    let first = Number.POSITIVE_INFINITY;
    for (const { retryAt } of this.#failures.values()) first = Math.min(first, retryAt);
    return Math.max(0, first - this.#now());
  }

  /** Keys that failed and were not cleared since, with the last message. */
  errors(): Map<string, string> {
    return new Map([...this.#failures].map(([key, { message }]) => [key, message]));
  }

  get size(): number {
    return this.#failures.size;
  }
}
