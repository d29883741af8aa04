/**
 * Which addresses of this node's own the kernel may know connections of. A pod that comes to one that has none has nothing to be judged, and reading
 * the whole table of connections would take longer than all else that policies do at its ADD.
 */

/** See the header. */
export class UsedAddresses {
  readonly #isOurs: (ip: string) => boolean;
  /** Pods have them, or have had them since the table was last seen without. */
  readonly #used = new Set<string>();
  /** The table was read once: no other addresses of ours have any. */
  #known = false;
  /** Those of {@link #used}, while the table is read, that no pod has, and that were not seen in it. */
  #idle = new Set<string>();

  /** @param isOurs whether an address can only ever be a pod's of this node, canonical */
  constructor(isOurs: (ip: string) => boolean) {
    this.#isOurs = isOurs;
  }

  /** A pod here has an address, and may have connections by it from now on. */
  use(ip: string): void {
    if (this.#isOurs(ip)) this.#used.add(ip);
    this.#idle.delete(ip);
  }

  /** Whether the kernel cannot know a connection of an address. */
  isFresh(ip: string): boolean {
    return this.#known && !this.#used.has(ip) && this.#isOurs(ip);
  }

  /** The table is about to be read. @param isHeld whether a pod here has an address now */
  reading(isHeld: (ip: string) => boolean): void {
    this.#idle = new Set([...this.#used].filter((ip) => !isHeld(ip)));
  }

  /** An address has a connection in the table that is being read. */
  see(ip: string): void {
    if (this.#known) this.#idle.delete(ip);
    else this.use(ip);
  }

  /** The table was read to its end. */
  wasRead(): void {
    for (const ip of this.#idle) this.#used.delete(ip);
    this.#idle.clear();
    this.#known = true;
  }
}
