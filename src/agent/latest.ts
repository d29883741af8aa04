/**
 * A task that makes something outside true (a rule set, an annotation, a file) and is run again whenever what
 * it should be has changed. Runs never overlap, any number of pokes while it runs make one more run, and
 * a failure is retried with a backoff that has a ceiling: the same few lines behind everything that the
 * agent writes, so that none of it can pile up or spin.
 */

/** How often a failing task is tried again. */
export interface Backoff {
  /** First pause in milliseconds; doubles up to `maxMs`, each with up to a quarter of jitter. */
  baseMs: number;
  maxMs: number;
}

/** Runs one task, always for the latest state of affairs. */
export class LatestTask {
  readonly #run: () => void | Promise<void>;
  readonly #onError: (error: unknown, attempt: number) => void;
  readonly #backoff: Backoff;
  #wanted = false;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #failures = 0;
  #stopped = false;

  /** @param run makes it true by the state that it finds when it is called. */
  constructor(run: () => void | Promise<void>, backoff: Backoff, onError: (error: unknown, attempt: number) => void) {
    this.#run = run;
    this.#backoff = backoff;
    this.#onError = onError;
  }

  /** The state changed: run after `delayMs` (pokes within it count as one), or once more when running; a pause after a failure is not cut short. */
  poke(delayMs = 0): void {
    if (this.#stopped) return;
    this.#wanted = true;
    if (this.#running || (this.#timer && this.#failures > 0)) return;
    this.#schedule(delayMs);
  }

  /** How many times in a row it has failed by now. */
  get failures(): number {
    return this.#failures;
  }

  /** Whether nothing is left to do: the last run succeeded and nobody has poked since. */
  get settled(): boolean {
    return !this.#wanted && !this.#running && this.#failures === 0;
  }

  /** Waits for a run that is under way and runs no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    await this.#running;
  }

  #schedule(delayMs: number): void {
    if (this.#timer && delayMs > 0) return;
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#running = this.#once();
    }, delayMs);
  }

  async #once(): Promise<void> {
    this.#wanted = false;
    try {
      await this.#run();
      this.#failures = 0;
    } catch (error) {
      this.#failures++;
      this.#onError(error, this.#failures);
    }
    this.#running = undefined;
    if (this.#stopped) return;
    if (this.#failures > 0) {
      const pause = Math.min(this.#backoff.baseMs * 2 ** (this.#failures - 1), this.#backoff.maxMs);
      this.#schedule(pause * (0.75 + Math.random() / 4));
    } else if (this.#wanted) this.#schedule(0);
  }
}
