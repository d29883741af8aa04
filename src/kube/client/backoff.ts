/**
 * How long to wait before the next attempt: doubling from a base to a cap, each with jitter, so that the agents of a
 * big cluster do not come back all at once after an outage of the API server.
 */

/** The limits of a backoff in milliseconds, and where its randomness comes from. */
export interface BackoffOptions {
  baseMs: number;
  capMs: number;
  /** 0 ≤ x < 1. */
  random?: () => number;
}

/** Counts failed attempts and tells how long to wait after each. */
export class Backoff {
  private readonly options: BackoffOptions;
  private failures = 0;

  constructor(options: BackoffOptions) {
    this.options = options;
  }

  /** The wait after one more failure: between half and the whole of `base × 2ⁿ`, at most the cap; never less than `atLeastMs`. */
  next(atLeastMs = 0): number {
    const { baseMs, capMs, random = Math.random } = this.options;
    const full = Math.min(capMs, baseMs * 2 ** Math.min(this.failures++, 30));
    const jitter = random() * (full / 2);
    return Math.max(full / 2 + jitter, atLeastMs + jitter);
  }

  /** Forget the failures: things went well for a while. */
  reset(): void {
    this.failures = 0;
  }
}

/** Waits; resolves early, without an error, when the signal is aborted. */
export function pause(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener("abort", done);
  });
}
