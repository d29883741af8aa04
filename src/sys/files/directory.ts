/**
 * A directory with those above it. Not `mkdir` with `recursive`: where a directory was removed while it was mounted
 * or entered here (an operator's `rm -rf` on a hostPath), the kernel says ENOENT for every name in it although it is
 * there itself, and Node 26 then goes round for ever without coming back.
 */
import { mkdirSync } from "node:fs";
import { dirname } from "node:path";

const codeOf = (error: unknown): string | undefined => (error as NodeJS.ErrnoException).code;

/**
 * Makes a directory and those above it where they are missing.
 * @throws Error of fs with its `code`: ENOENT where a removed directory is still in use, ENOTDIR below a file
 */
export function makeDirectory(path: string, mode = 0o755): void {
  const missing: string[] = [];
  for (let directory = path; ; directory = dirname(directory)) {
    try {
      mkdirSync(directory, mode);
      break;
    } catch (error) {
      if (codeOf(error) === "EEXIST") break;
      if (codeOf(error) !== "ENOENT" || directory === dirname(directory)) throw error;
      missing.push(directory);
    }
  }
  for (const directory of missing.toReversed()) {
    try {
      mkdirSync(directory, mode);
    } catch (error) {
      if (codeOf(error) !== "EEXIST") throw error; // made meanwhile by somebody else
    }
  }
}
