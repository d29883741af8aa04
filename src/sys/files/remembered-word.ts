/** A word that an agent writes down for the one that starts next. */
import { readFileSync } from "node:fs";
import { dirname } from "node:path";
import { makeDirectory } from "./directory.ts";
import { writeFileAtomic } from "./files.ts";

/** See the header. */
export class RememberedWord {
  readonly #path: string;
  readonly #failed: (error: unknown) => void;
  #word: string | undefined;

  /** @param failed hears why it could not be written down; what is remembered is then what it was */
  constructor(path: string, failed: (error: unknown) => void) {
    this.#path = path;
    this.#failed = failed;
    try {
      this.#word = readFileSync(path, "utf8").trim();
    } catch {
      // As on a first start: nothing is remembered.
    }
  }

  /** What was written; undefined where there is nothing that can be read. */
  get word(): string | undefined {
    return this.#word;
  }

  remember(word: string): void {
    if (word === this.#word) return;
    try {
      makeDirectory(dirname(this.#path), 0o700);
      writeFileAtomic(this.#path, `${word}\n`);
      this.#word = word;
    } catch (error) {
      this.#failed(error);
    }
  }
}
