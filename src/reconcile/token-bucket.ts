/** A bound for what others may set off: some at once, then one from time to time. */
export class TokenBucket {
  readonly #size: number;
  readonly #everyMs: number;
  readonly #now: () => number;
  #left: number;
  #refilled: number;

  /**
   * @param size how many may be taken at once. @param everyMs how long until there is one more, in milliseconds
   * @param now milliseconds, growing
   */
  constructor(size: number, everyMs: number, now: () => number) {
    this.#size = this.#left = size;
    this.#everyMs = everyMs;
    this.#now = now;
    this.#refilled = now();
  }

  /** Takes one, if there is one. */
  take(): boolean {
    const gained = Math.floor((this.#now() - this.#refilled) / this.#everyMs);
    if (gained > 0) {
      this.#left = Math.min(this.#size, this.#left + gained);
      this.#refilled += gained * this.#everyMs;
    }
    if (this.#left === 0) return false;
    this.#left--;
    return true;
  }
}
