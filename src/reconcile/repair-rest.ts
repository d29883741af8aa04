/**
 * How long to rest before the next repair of something that somebody else changes: not at all as a rule, and longer and longer for who
 * goes on, so that two who do not agree do not keep a processor busy.
 */

/** Changes come in bursts; a repair comes this long after the first of one, in milliseconds. */
export const SETTLE_MS = 20;
/** Longest rest while somebody goes on: well under a second. */
export const LONGEST_REST_MS = 250;
/** A repair this long after the last one is nobody's habit. */
const CALM_MS = 2_000;

/** See the header. */
export class RepairRest {
  #ms = SETTLE_MS;
  #last = Number.NEGATIVE_INFINITY;

  /** In milliseconds. */
  get ms(): number {
    return this.#ms;
  }

  /** A repair has been made. */
  repaired(): void {
    const now = performance.now();
    this.#ms = now - this.#last > CALM_MS ? SETTLE_MS : Math.min(this.#ms * 2, LONGEST_REST_MS);
    this.#last = now;
  }
}
