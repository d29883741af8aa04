/**
 * A task that makes something true and is asked for again and again: runs never overlap, any number of requests while
 * one runs make one more, and a failing one is retried after a pause that doubles up to a ceiling.
 */

/** Pauses after a failure, in milliseconds. */
const RETRY = { first: 250, longest: 30_000 } as const;

export class Task {
  readonly #run: () => Promise<void>;
  readonly #onError: (error: unknown) => void;
  #wanted = false;
  #failures = 0;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #due = 0;
  #stopped = false;
  readonly #waiting: (() => void)[] = [];

  /** @param onError hears every failure. */
  constructor(run: () => Promise<void>, onError: (error: unknown) => void) {
    this.#run = run;
    this.#onError = onError;
  }

  /** Has it run within `delayMs`; a pause after a failure is not cut short. */
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
    return this.#stopped || (!this.#running && (!this.#wanted || this.#failures > 0));
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
      this.#onError(error);
    }
    this.#running = undefined;
    if (this.#wanted && !this.#stopped) {
      this.#schedule(this.#failures > 0 ? Math.min(RETRY.first * 2 ** (this.#failures - 1), RETRY.longest) : 0);
    }
    if (this.#idle) this.#release();
  }

  #release(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
