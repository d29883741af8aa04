/**
 * How soon the next repair may follow: at once, until there have been many in a short time. Somebody who undoes every repair
 * then gets one now and then, so that a fight over a file costs the node nothing.
 */

/** So many repairs in a row are made at once. */
const BURST = 30;
/** Each pause of this length allows one more, in milliseconds. */
const EACH_MS = 2_000;

/** A bucket of repairs that fills by itself. */
export class RepairPace {
  readonly #now: () => number;
  #left = BURST;
  #at: number;

  /** @param now milliseconds on a clock that never goes back */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
    this.#at = now();
  }

  /** One has been made. @returns whether it was the last one that is made at once */
  made(): boolean {
    this.#fill();
    const before = this.#left;
    this.#left = Math.max(0, this.#left - 1);
    return before >= 1 && this.#left < 1;
  }

  /** Milliseconds until the next one. */
  get restMs(): number {
    this.#fill();
    return this.#left >= 1 ? 0 : Math.ceil((1 - this.#left) * EACH_MS);
  }

  #fill(): void {
    const now = this.#now();
    this.#left = Math.min(BURST, this.#left + (now - this.#at) / EACH_MS);
    this.#at = now;
  }
}
