/** One after the other: what reads, asks the API and then writes must not meet itself half way. */
export class Serial {
  #last: Promise<unknown> = Promise.resolve();

  /** Runs when all that were given before have ended, well or not. */
  run<T>(task: () => Promise<T>): Promise<T> {
    const done = this.#last.then(task);
    this.#last = done.catch(() => undefined); // the one who gave it hears of it
    return done;
  }
}
