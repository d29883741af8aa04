/** When an agent has come up: what takes a while and is needed by nobody begins then, so that pods need not wait for it. */

/** An agent that is not ready by then has come up as far as it can, in milliseconds: what stands in its way says nothing of the rest. */
const LATEST_MS = 5_000;

/** Resolves once. */
export class Settled {
  readonly #ready: () => boolean;
  readonly #resolvers = Promise.withResolvers<void>();
  readonly #latest = setTimeout(() => this.#settle(), LATEST_MS).unref();
  #settled = false;

  /** @param ready whether the node is ready now */
  constructor(ready: () => boolean) {
    this.#ready = ready;
  }

  /** Resolves when the node is ready for the first time, or has not been for long. */
  get promise(): Promise<void> {
    return this.#resolvers.promise;
  }

  /** It may be ready now. */
  poke(): void {
    if (!this.#settled && this.#ready()) this.#settle();
  }

  #settle(): void {
    clearTimeout(this.#latest);
    this.#settled = true;
    this.#resolvers.resolve();
  }
}
