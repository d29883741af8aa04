/**
 * A task that makes something outside true (a table of rules, an annotation, a file) and is run again whenever what it
 * should be has changed. Runs never overlap, any number of requests while one runs make one more, and a failing one is
 * tried again after a pause that has a ceiling: the same few lines behind everything that the agent writes, so
 * that none of it can pile up or spin.
 */

/** How soon a failing task is tried again, in milliseconds. */
export interface RetryPause {
  /** The first pause; it doubles with every failure up to `maxMs`. Each is shortened by up to a quarter at random. */
  baseMs: number;
  maxMs: number;
}

/** Runs one task, always for the latest state of affairs. */
export class Task {
  readonly #run: () => void | Promise<void>;
  readonly #pause: RetryPause;
  readonly #onError: (error: unknown, attempt: number) => void;
  #wanted = false;
  #failures = 0;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** When the timer ends, on the clock of `performance`. */
  #due = 0;
  #stopped = false;
  readonly #waiting: (() => void)[] = [];

  /**
   * @param run makes it true by the state that it finds when it is called.
   * @param onError hears every failure, and how many there have been in a row.
   */
  constructor(run: () => void | Promise<void>, pause: RetryPause, onError: (error: unknown, attempt: number) => void) {
    this.#run = run;
    this.#pause = pause;
    this.#onError = onError;
  }

  /**
   * The state changed: run within `delayMs` (requests meanwhile count as one), or once more when running. A pause after a
   * failure is not cut short.
   */
  want(delayMs = 0): void {
    if (this.#stopped) return;
    this.#wanted = true;
    if (this.#running || (this.#timer && this.#failures > 0)) return;
    this.#schedule(delayMs);
  }

  /** Whether it is running now. */
  get running(): boolean {
    return this.#running !== undefined;
  }

  /** How many times in a row it has failed by now. */
  get failures(): number {
    return this.#failures;
  }

  /** Resolves when it neither runs nor is about to; also when it has failed and will be tried again. */
  async settled(): Promise<void> {
    if (this.#idle) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Waits for a run that is under way and runs no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearTimeout(this.#timer);
    this.#timer = undefined;
    await this.#running;
    this.#release();
  }

  get #idle(): boolean {
    return !this.#running && (this.#stopped || !this.#wanted || this.#failures > 0);
  }

  #schedule(delayMs: number): void {
    const due = performance.now() + delayMs;
    if (this.#timer && this.#due <= due) return;
    clearTimeout(this.#timer);
    this.#due = due;
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
      this.#wanted = true;
      this.#onError(error, this.#failures);
    }
    this.#running = undefined;
    if (this.#wanted && !this.#stopped) this.#schedule(this.#failures > 0 ? this.#pauseMs() : 0);
    if (this.#idle) this.#release();
  }

  #pauseMs(): number {
    const { baseMs, maxMs } = this.#pause;
    return Math.min(baseMs * 2 ** (this.#failures - 1), maxMs) * (0.75 + Math.random() / 4);
  }

  #release(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
