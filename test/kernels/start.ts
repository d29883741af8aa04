/** How the guest's command came up, as far as its console tells: whether its runtime crashed before it ran anything of this tree. */
import { constants } from "node:os";

/** What the guest prints before the first feature, as before each. */
const FIRST_SIGN = /^=== \w/;
/** What the guest's shell prints in the end; a status from 128 on is a signal's. */
const ENDED = /^the guest's command ended with status (\d+)$/;
const SIGNALS = 128;

/** Listens to one boot's console. */
export class Start {
  #begun = false;
  #signal: number | undefined;

  /** @param line of the console */
  hear(line: string): void {
    this.#begun ||= FIRST_SIGN.test(line);
    const status = Number(ENDED.exec(line)?.[1] ?? 0);
    if (status > SIGNALS) this.#signal = status - SIGNALS;
  }

  /** The signal by which the runtime ended before it ran anything of this tree; undefined where it did not end so. */
  get crash(): string | undefined {
    if (this.#begun || this.#signal === undefined) return undefined;
    const found = Object.entries(constants.signals).find(([, number]) => number === this.#signal);
    return found?.[0] ?? `signal ${this.#signal}`;
  }
}
