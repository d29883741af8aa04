/** One thing at a time with each of many, whatever goes on with the others. */
export class Turns {
  readonly #last = new Map<string, Promise<void>>();

  /** Does something once what came before it with the same name is over, however that ended. */
  async take(name: string, work: () => Promise<void>): Promise<void> {
    const before = this.#last.get(name) ?? Promise.resolve();
    const mine = before.then(work);
    // Whoever asked for it hears of its failure; the next one only waits.
    const settled = mine.catch(() => undefined);
    this.#last.set(name, settled);
    try {
      await mine;
    } finally {
      if (this.#last.get(name) === settled) this.#last.delete(name);
    }
  }

  /** Resolves when what is under way now is over. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
