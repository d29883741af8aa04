/** One thing at a time with each of many, whatever goes on with the others. */
export class KeyedMutex {
  readonly #last = new Map<string, Promise<unknown>>();

  /** Does something once what came before it with the same key is over, however that ended. @throws what `work` throws */
  async run<T>(key: string, work: () => Promise<T>): Promise<T> {
    const before = this.#last.get(key) ?? Promise.resolve();
    const mine = before.then(work);
    // Whoever asked for it hears of its failure; the next one only waits.
    const settled = mine.catch(() => undefined);
    this.#last.set(key, settled);
    try {
      return await mine;
    } finally {
      if (this.#last.get(key) === settled) this.#last.delete(key);
    }
  }

  /** Resolves when what is under way now is over. */
  async settled(): Promise<void> {
    await Promise.all(this.#last.values());
  }
}
