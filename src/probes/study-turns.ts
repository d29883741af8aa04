/** Whose paths are studied: a study takes most of what a node may send, so there is one at a time, and whoever had to wait is the next. */
import type { Target } from "./target.ts";

/** Gives turns. */
export class StudyTurns {
  readonly #look: (target: Target) => void;
  /** Those that were refused, the first one first. */
  readonly #waiting = new Set<Target>();
  #taken = false;

  /** @param look has one looked at that waits, now that it may be studied */
  constructor(look: (target: Target) => void) {
    this.#look = look;
  }

  /** Takes the turn for a peer. @returns what gives it back; undefined where another one has it: its turn comes */
  take(target: Target): (() => void) | undefined {
    if (this.#taken) {
      this.#waiting.add(target);
      return undefined;
    }
    this.#taken = true;
    this.#waiting.delete(target);
    return () => {
      this.#taken = false;
      const [next] = this.#waiting;
      if (!next) return;
      this.#waiting.delete(next);
      this.#look(next);
    };
  }

  /** One that is gone waits no longer. */
  forget(target: Target): void {
    this.#waiting.delete(target);
  }
}
