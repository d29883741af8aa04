/** Values by name, and which of them have changed since somebody last took the changes: however often one changes, it is taken once. */

export class Keyed<T extends object> {
  readonly all = new Map<string, T>();
  readonly #touched = new Set<string>();

  get(key: string): T | undefined {
    return this.all.get(key);
  }

  /** @returns whether that is a change */
  set(key: string, value: T): boolean {
    const known = this.all.get(key);
    if (known !== undefined && JSON.stringify(known) === JSON.stringify(value)) return false;
    this.all.set(key, value);
    this.#touched.add(key);
    return true;
  }

  delete(key: string): boolean {
    if (!this.all.delete(key)) return false;
    this.#touched.add(key);
    return true;
  }

  /** What was set and what went since the last call. */
  take(): { set: T[]; gone: string[] } {
    const set: T[] = [];
    const gone: string[] = [];
    for (const key of this.#touched) {
      const value = this.all.get(key);
      if (value === undefined) gone.push(key);
      else set.push(value);
    }
    this.#touched.clear();
    return { set, gone };
  }
}
