/**
 * Holds back what changes too often (route flap damping, RFC 2439, is the same for routes): the first changes of a Node are taken at once, then
 * one from time to time, each time the latest. What a hostile node writes hundreds of times a second thus costs the others no more than what
 * it writes a few times a minute: no plan, no rule, no line in the log. Other Nodes are not held back by it.
 */

/**
 * Changes of a Node that are taken at once: one that joins many pod networks has some. How long it takes until one more may be,
 * in milliseconds: twice as long each time, while it goes on.
 */
const BURST = 20;
const EVERY_MS = 1_000;
const LONGEST_MS = 30_000;

interface Bucket {
  /** How many changes may be taken at once now, at the time `at`. */
  left: number;
  at: number;
  every: number;
  /** Set while a change is held back. */
  timer?: NodeJS.Timeout;
  told?: boolean;
}

export interface DamperOptions {
  /** A change of these that was held back is due. */
  onDue: (name: string) => void;
  /** A Node has begun to change too often; told again only after it was quiet. */
  onHeld: (name: string) => void;
  burst?: number;
  everyMs?: number;
  now?: () => number;
}

/** See the header. What it remembers of a Node is gone once that has been quiet for as long as its burst takes to come back. */
export class Damper {
  readonly #options: Required<DamperOptions>;
  readonly #buckets = new Map<string, Bucket>();

  constructor(options: DamperOptions) {
    this.#options = { burst: BURST, everyMs: EVERY_MS, now: Date.now, ...options };
  }

  /** Whether a change of that name is to be taken now; otherwise it is due later, once for all until then. */
  take(name: string): boolean {
    const { burst, everyMs, now, onDue, onHeld } = this.#options;
    const bucket = this.#buckets.get(name) ?? { left: burst, at: now(), every: everyMs };
    this.#buckets.set(name, bucket);
    const gained = Math.floor((now() - bucket.at) / bucket.every);
    bucket.left = Math.min(burst, bucket.left + gained);
    bucket.at += gained * bucket.every;
    if (bucket.left === burst) Object.assign(bucket, { told: false, every: everyMs });
    if (bucket.timer) return false;
    if (bucket.left > 0) {
      bucket.left--;
      this.#sweep();
      return true;
    }
    bucket.timer = setTimeout(
      () => {
        delete bucket.timer;
        onDue(name);
      },
      bucket.at + bucket.every - now(),
    );
    if (bucket.told) bucket.every = Math.min(2 * bucket.every, LONGEST_MS);
    if (!bucket.told) onHeld(name);
    bucket.told = true;
    return false;
  }

  stop(): void {
    for (const { timer } of this.#buckets.values()) clearTimeout(timer);
    this.#buckets.clear();
  }

  /** Names in the order in which they were first seen: those at the front have been quiet longest, as a rule. */
  #sweep(): void {
    const { burst, now } = this.#options;
    for (const [name, { at, timer }] of this.#buckets) {
      if (timer || now() - at < burst * LONGEST_MS) return;
      this.#buckets.delete(name);
    }
  }
}
