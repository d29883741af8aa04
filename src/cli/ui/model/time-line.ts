/** The last things that happened, and those that nobody has taken yet. */
import { MOST, type Moment, type MomentKind } from "../wire.ts";

/** Longest text of one, in characters: some of it is written by nodes and pods. */
const MOST_TEXT = 600;

/** Text that is not longer than a line or two. */
export const cut = (text: string, most = MOST_TEXT): string =>
  text.length <= most ? text : `${text.slice(0, most - 1)}…`;

export class TimeLine {
  #all: Moment[] = [];
  #fresh: Moment[] = [];
  #last = 0;

  add(at: number, kind: MomentKind, bad: boolean, subject: string, text: string): void {
    const moment = { id: ++this.#last, at, kind, bad, subject: cut(subject), text: cut(text) };
    this.#all.push(moment);
    this.#fresh.push(moment);
    // Not at each: that would move all of them each time.
    if (this.#all.length > 2 * MOST.moments) this.#all = this.#all.slice(-MOST.moments);
    if (this.#fresh.length > 2 * MOST.moments) this.#fresh = this.#fresh.slice(-MOST.moments);
  }

  /** The last ones, oldest first. */
  all(): Moment[] {
    return this.#all.slice(-MOST.moments);
  }

  /** Those since the last call. */
  take(): Moment[] {
    const fresh = this.#fresh.slice(-MOST.moments);
    this.#fresh = [];
    return fresh;
  }
}
