/**
 * When a reconciler passes. One pass at a time; a wanted change at once; a doubt a little later, since notifications come in
 * bursts, and not too often while somebody keeps changing things; a retry when it is due; and a look
 * now and then without any reason. What a pass does is not known here, only whether it may trust what was last known.
 */

/** Notifications come in bursts; this long after the first of one the kernel is looked at, in milliseconds. */
const SETTLE_MS = 10;
/** Longest rest between two looks while something keeps changing our entries: well under a second. */
const LONGEST_REST_MS = 300;
/** Without any notification the kernel is looked at this often all the same, in milliseconds. */
const RESYNC_MS = 300_000;

/** How a pass ended: all is known, the kernel must be looked at again soon, or it could not be made. */
export type PassEnd = "done" | "again" | "failed";

export interface SchedulerOptions {
  /**
   * Makes a pass, and never rejects.
   * @param trusted whether what is known of the kernel still holds; a pass that cannot rely on it dumps
   */
  pass: (trusted: boolean) => Promise<PassEnd>;
  /** Milliseconds until something that failed is to be tried again; undefined when nothing is. */
  retryIn: () => number | undefined;
}

/** Calls for passes from {@link Scheduler.start} until {@link Scheduler.stop}. */
export class Scheduler {
  readonly #options: SchedulerOptions;
  #state: "new" | "running" | "stopped" = "new";
  #trusted = false;
  /** A pass is wanted soon; `#timer` has it, or `#running` will see to it. */
  #wanted = false;
  #running: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  #soon: NodeJS.Immediate | undefined;
  #timerDue = Number.POSITIVE_INFINITY;
  #lastPassMs = 0;
  #waiting: (() => void)[] = [];

  constructor(options: SchedulerOptions) {
    this.#options = options;
  }

  /** Has the first pass run. @throws Error at the second call */
  start(): void {
    if (this.#state !== "new") throw new Error("a reconciler is started once");
    this.#state = "running";
    this.change();
  }

  /** What is known of the kernel holds, as far as has been heard. */
  get trusted(): boolean {
    return this.#trusted;
  }

  /** Something is wanted otherwise: a pass at once. */
  change(): void {
    this.#schedule(0);
  }

  /** What is known of the kernel may hold no longer: a pass soon, which looks. */
  doubt(): void {
    this.#trusted = false;
    this.#schedule(Math.min(Math.max(SETTLE_MS, this.#lastPassMs), LONGEST_REST_MS));
  }

  /** The pass that is under way has not looked yet: what was doubted so far it sees for itself. */
  looks(): void {
    this.#trusted = true;
  }

  /** Resolves when no pass is under way or about to start; retries may still be due later. */
  async settled(): Promise<void> {
    if (this.#state !== "running" || !(this.#wanted || this.#running)) return;
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** No pass starts after this; resolves when the last one has ended. Whoever waits for {@link settled} is let go by `free`. */
  async stop(): Promise<void> {
    this.#state = "stopped";
    clearTimeout(this.#timer);
    clearImmediate(this.#soon);
    await this.#running;
  }

  /** Lets go whoever still waits. */
  free(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }

  /** Has a pass run within `delayMs`; passes never overlap. */
  #schedule(delayMs: number, later = false): void {
    if (this.#state !== "running") return;
    if (!later) this.#wanted = true;
    const due = performance.now() + delayMs;
    if (this.#running || due >= this.#timerDue) return;
    clearTimeout(this.#timer);
    this.#timerDue = due;
    const run = (): void => {
      this.#timerDue = Number.POSITIVE_INFINITY;
      this.#running = this.#run();
    };
    // A timer takes a millisecond at least.
    if (delayMs === 0) this.#soon = setImmediate(run);
    else this.#timer = setTimeout(run, delayMs);
  }

  async #run(): Promise<void> {
    const start = performance.now();
    // A timer that nobody asked for is the long one, or a retry after which nothing may be assumed.
    if (!this.#wanted) this.#trusted = false;
    this.#wanted = false;
    const trusted = this.#trusted;
    this.#trusted = true;
    const end = await this.#options.pass(trusted);
    if (end !== "done") this.#trusted = false;
    if (end === "again") this.#wanted = true;
    this.#lastPassMs = performance.now() - start;
    this.#running = undefined;
    if (this.#wanted) this.#schedule(this.#trusted ? 0 : SETTLE_MS);
    else {
      this.free();
      this.#schedule(Math.min(this.#options.retryIn() ?? RESYNC_MS, RESYNC_MS), true);
    }
  }
}
