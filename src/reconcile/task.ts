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
  /** When the run is due that was wanted while one was under way, on the clock of `performance`. */
  #next = Number.POSITIVE_INFINITY;
  #failures = 0;
  #error: unknown;
  #running: Promise<void> | undefined;
  /** Gives up the run that is planned; undefined where none is. */
  #cancel: (() => void) | undefined;
  /** When that is due, on the clock of `performance`. */
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
   * The state changed: run within `delayMs` (requests meanwhile count as one), once more when running, then as well no sooner
   * than the requests need: what is asked for with a delay all the time must not run all the time. A pause after a failure is
   * not cut short.
   */
  want(delayMs = 0): void {
    if (this.#stopped) return;
    this.#wanted = true;
    if (this.#running) this.#next = Math.min(this.#next, performance.now() + delayMs);
    else if (!this.#cancel || this.#failures === 0) this.#schedule(delayMs);
  }

  /** The same, and somebody waits for it: with the end of this turn, and not of the millisecond that a timer takes at least. */
  wantAtOnce(): void {
    this.want(-1);
  }

  /** Whether it is running now. */
  get running(): boolean {
    return this.#running !== undefined;
  }

  /** How many times in a row it has failed by now. */
  get failures(): number {
    return this.#failures;
  }

  /** What the last run failed with; undefined when it did not. */
  get error(): unknown {
    return this.#error;
  }

  /** Resolves when it neither runs nor is about to; also when it has failed and will be tried again. */
  async settled(): Promise<void> {
    if (this.#idle) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Waits for a run that is under way and runs no more. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancel?.();
    this.#cancel = undefined;
    await this.#running;
    this.#release();
  }

  get #idle(): boolean {
    return !this.#running && (this.#stopped || !this.#wanted || this.#failures > 0);
  }

  #schedule(delayMs: number): void {
    const due = performance.now() + delayMs;
    if (this.#cancel && this.#due <= due) return;
    this.#cancel?.();
    this.#due = due;
    const run = (): void => {
      this.#cancel = undefined;
      this.#running = this.#once();
    };
    if (delayMs < 0) {
      const immediate = setImmediate(run);
      this.#cancel = () => clearImmediate(immediate);
    } else {
      const timer = setTimeout(run, delayMs);
      this.#cancel = () => clearTimeout(timer);
    }
  }

  async #once(): Promise<void> {
    this.#wanted = false;
    this.#next = Number.POSITIVE_INFINITY;
    try {
      await this.#run();
      this.#failures = 0;
      this.#error = undefined;
    } catch (error) {
      this.#error = error;
      this.#failures++;
      this.#wanted = true;
      this.#onError(error, this.#failures);
    }
    this.#running = undefined;
    const delayMs = this.#failures > 0 ? this.#pauseMs() : Math.max(0, this.#next - performance.now());
    if (this.#wanted && !this.#stopped) this.#schedule(delayMs);
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
