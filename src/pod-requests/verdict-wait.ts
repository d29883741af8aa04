/** Pods that wait until they may come: until what keeps them is over, or for too long. */
import type { CniError } from "../cni/index.ts";
import { within } from "../reconcile/index.ts";

/** How long an ADD waits for the API server's first word, and for the kernel, in milliseconds. */
export const PATIENCE_MS = 3_000;

/** See the header. */
export class VerdictWait {
  readonly #refuse: (why: string) => CniError;
  readonly #waiting = new Set<() => void>();

  /** @param refuse the answer to a pod that has waited too long */
  constructor(refuse: (why: string) => CniError) {
    this.#refuse = refuse;
  }

  /** Waits until a verdict is that pods may come; it is asked again whenever something has changed. @throws CniError when that takes too long */
  async until(verdict: () => { ok: boolean; message: string }): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (let { ok, message } = verdict(); !ok; { ok, message } = verdict()) {
      const next = new Promise<void>((resolve) => this.#waiting.add(resolve));
      const why = message;
      await within(next, deadline - performance.now(), () => this.#refuse(why));
    }
  }

  /** A verdict may be another one. */
  changed(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
