/**
 * Removing files without waiting for the file system. A name is out of the way as soon as it is renamed; freeing what is
 * behind it can take far longer: ext4 needs some 10 µs for a file whose content is in the inode, and 100 to 700 µs for a
 * symbolic link that has a block of its own, as records of attachments have. So a file is renamed into a directory of
 * gone files first, and unlinked there in libuv's thread pool, one at a time. What a kill leaves there is removed at the
 * next start; nobody reads it.
 */
import { readdirSync, renameSync, unlinkSync } from "node:fs";
import { unlink } from "node:fs/promises";
import { join } from "node:path";
import { makeDirectory } from "./directory.ts";

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/** Removes files of one file system in the background. */
export class GoneFiles {
  readonly #dir: string;
  readonly #onError: (error: unknown) => void;
  readonly #waiting: string[] = [];
  #working: Promise<void> | undefined;
  #count = 0;

  /**
   * @param dir where gone files wait, made when first needed; used by one process at a time.
   * @param onError a gone file could not be unlinked; it is tried again by the next process.
   */
  constructor(dir: string, onError: (error: unknown) => void) {
    this.#dir = dir;
    this.#onError = onError;
  }

  /** Removes what an earlier process has left. */
  sweep(): void {
    try {
      this.#waiting.push(...readdirSync(this.#dir));
    } catch (error) {
      if (codeOf(error) !== "ENOENT") this.#onError(error);
    }
    this.#work();
  }

  /** Removes a file: when this returns, its name is free. @throws Error of fs with its `code`, ENOENT when there is no such file */
  remove(path: string): void {
    const name = `${process.pid}-${++this.#count}`;
    try {
      this.#rename(path, join(this.#dir, name));
    } catch (error) {
      if (codeOf(error) === "ENOENT") throw error;
      // Whatever keeps it from being put aside (another file system, a full one): the plain way.
      unlinkSync(path);
      return;
    }
    this.#waiting.push(name);
    this.#work();
  }

  /** Resolves when nothing waits. */
  async settled(): Promise<void> {
    await this.#working;
  }

  #rename(path: string, target: string): void {
    try {
      renameSync(path, target);
    } catch (error) {
      if (codeOf(error) !== "ENOENT") throw error;
      // There is no such file, or no directory yet.
      makeDirectory(this.#dir, 0o700);
      renameSync(path, target);
    }
  }

  #work(): void {
    if (this.#waiting.length > 0) this.#working ??= this.#unlinkAll();
  }

  async #unlinkAll(): Promise<void> {
    for (let name = this.#waiting.shift(); name !== undefined; name = this.#waiting.shift()) {
      try {
        await unlink(join(this.#dir, name));
      } catch (error) {
        // A process of the same number has left one of the same name, and it was replaced.
        if (codeOf(error) !== "ENOENT") this.#onError(error);
      }
    }
    this.#working = undefined;
  }
}
