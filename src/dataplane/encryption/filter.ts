/** The table of encryption, in place as what it is made of changes. */
import type { Logger } from "../../log/index.ts";
import { KeptTable } from "../nft/index.ts";
import { ENCRYPTION_NFT_TABLE, type EncryptionRules, renderEncryption } from "./table.ts";

/** See the header. */
export class EncryptionFilter {
  readonly #table: KeptTable;
  #wanted: string | undefined;

  constructor(log: Logger, onRepair: () => void) {
    this.#table = new KeptTable({ table: ENCRYPTION_NFT_TABLE, log, render: () => this.#wanted, onRepair });
  }

  /** The table is to be this. */
  set(rules: EncryptionRules): void {
    const text = renderEncryption(rules);
    if (text === this.#wanted) return;
    this.#wanted = text;
    this.#table.want();
  }

  /** Why the table is not in place; undefined where it is. */
  get error(): string | undefined {
    const { error, inPlace } = this.#table;
    return error ?? (inPlace ? undefined : "not put in place yet");
  }

  /** Resolves when no attempt is under way, whether the last one succeeded or not. */
  settled(): Promise<void> {
    return this.#table.settled();
  }

  /** Stops, and leaves the table as it is. */
  stop(): Promise<void> {
    return this.#table.stop();
  }
}
