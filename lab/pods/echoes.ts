/** What `ping -D -O` prints, read for how long the other end was out of reach. */

const LINE = /^\[([\d.]+)\] (no answer yet for |From )?.*\bicmp_seq=(\d+)(?:.* time=([\d.]+) ms)?/;

/** The echo requests of one ping: when each was sent, and what its answer took. All times in milliseconds. */
export class Echoes {
  /** By their number. The kernel takes the time of an answer, so that a reader who is late changes nothing. */
  readonly #answers = new Map<number, { sentAt: number; tookMs: number }>();
  /** When one without an answer was given up: at most an interval after it was sent, or as soon as somebody said why. */
  readonly #overdue = new Map<number, number>();

  /** Takes in a line. @returns whether it tells of an answer */
  read(line: string): boolean {
    const [, at, overdue, number, took] = LINE.exec(line) ?? [];
    if (at === undefined || number === undefined) return false;
    if (overdue !== undefined && !this.#overdue.has(Number(number)))
      this.#overdue.set(Number(number), Number(at) * 1000);
    if (took === undefined) return false;
    this.#answers.set(Number(number), { sentAt: Number(at) * 1000 - Number(took), tookMs: Number(took) });
    return true;
  }

  /**
   * The longest time out of reach: an answer's own, or between the first request of a row without an answer and the next with
   * one. Requests after the last answer are not counted: nothing says that they would have been answered.
   */
  longestGapMs(): number {
    const numbers = [...this.#answers.keys()].sort((a, b) => a - b);
    let longest = 0;
    let before: number | undefined;
    for (const number of numbers) {
      const { sentAt, tookMs } = this.#answers.get(number) as { sentAt: number; tookMs: number };
      longest = Math.max(longest, tookMs);
      if (before !== undefined && number > before + 1) {
        const lostSince = this.#overdue.get(before + 1);
        const last = this.#answers.get(before) as { sentAt: number };
        longest = Math.max(longest, sentAt - (lostSince ?? last.sentAt));
      }
      before = number;
    }
    return longest;
  }
}
