/**
 * The key by which launcher and agent know each other: two halves, of which each end shows one. It lies in the data directory,
 * so whoever can reach the socket alone, as a container can that has the run directory mounted, has none. Agents of a node take
 * it over from each other.
 */
import { randomBytes, timingSafeEqual } from "node:crypto";
import { closeSync, constants, fstatSync, openSync, readSync } from "node:fs";
import { join } from "node:path";
import { makeDirectory, writeFileAtomic } from "../sys/index.ts";

/** Name of the file in the data directory. */
export const LAUNCHER_KEY = "launcher.key";
/** Bytes of half a key. */
export const HALF_KEY = 32;
const MODE = 0o600;

/** See the header. */
export class LauncherKey {
  readonly path: string;
  #key: Buffer | undefined;

  constructor(dataDir: string) {
    this.path = join(dataDir, LAUNCHER_KEY);
  }

  /** Makes the file hold the key, the one that is there at first. @returns whether somebody had changed it. @throws Error of fs */
  keep(): boolean {
    const there = read(this.path);
    const before = this.#key;
    this.#key ??= there ?? randomBytes(2 * HALF_KEY);
    if (there?.equals(this.#key)) return false;
    makeDirectory(join(this.path, ".."));
    writeFileAtomic(this.path, this.#key, { mode: MODE });
    return before !== undefined;
  }

  /** Whether a launcher has shown its half. */
  knows(shown: Uint8Array): boolean {
    return (
      this.#key !== undefined && shown.length === HALF_KEY && timingSafeEqual(shown, this.#key.subarray(0, HALF_KEY))
    );
  }

  /** Our half. @throws Error before {@link keep} was called */
  get ours(): Buffer {
    if (!this.#key) throw new Error("the launcher's key has not been read yet");
    return this.#key.subarray(HALF_KEY);
  }
}

/** The key in a file that only its owner can read; undefined where there is none. @throws Error of fs */
function read(path: string): Buffer | undefined {
  let fd: number;
  try {
    fd = openSync(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    if (["ENOENT", "ELOOP", "ENXIO"].includes((error as NodeJS.ErrnoException).code ?? "")) return undefined;
    throw error;
  }
  try {
    const stat = fstatSync(fd);
    const key = Buffer.alloc(2 * HALF_KEY + 1);
    if (!stat.isFile() || (stat.mode & 0o777) !== MODE || stat.uid !== process.geteuid?.()) return undefined;
    return readSync(fd, key, 0, key.length, 0) === 2 * HALF_KEY ? key.subarray(0, 2 * HALF_KEY) : undefined;
  } finally {
    closeSync(fd);
  }
}
