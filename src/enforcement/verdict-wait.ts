/** Pods that wait until they may come: until what keeps them is over, or for too long. */
import { CODE } from "../cni/index.ts";
import { within } from "../reconcile/index.ts";
import { PATIENCE_MS, refusal } from "./network-enforcement.ts";

/** See the header. */
export class VerdictWait {
  readonly #waiting = new Set<() => void>();

  /** Waits until a verdict is that pods may come; it is asked again whenever something has changed. @throws CniError 11 when that takes too long */
  async until(verdict: () => { ok: boolean; message: string }): Promise<void> {
    const deadline = performance.now() + PATIENCE_MS;
    for (let { ok, message } = verdict(); !ok; { ok, message } = verdict()) {
      const next = new Promise<void>((resolve) => this.#waiting.add(resolve));
      const why = message;
      await within(next, deadline - performance.now(), () => refusal(CODE.tryAgain, why));
    }
  }

  /** A verdict may be another one. */
  changed(): void {
    for (const resolve of this.#waiting) resolve();
    this.#waiting.clear();
  }
}
