/**
 * Files that are either the old or the new version, never a part of one: written beside their place and renamed.
 */
import { closeSync, fchmodSync, fsyncSync, openSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

export interface AtomicWriteOptions {
  /** Permission bits whatever the umask says; 0644 by default. */
  mode?: number;
  /** Survives a power cut once the call has returned (fsync of the file and its directory). */
  durable?: boolean;
}

/** The name of the file that a draft was to become, by the draft's own; undefined for what is no draft of {@link writeFileAtomic}. */
export const draftTarget = (name: string): string | undefined => /^\.(.+)\.\d+-[0-9a-z]+\.tmp$/.exec(name)?.[1];

/**
 * Writes a file atomically. On failure (a full disk, for one) the old version stays and nothing else is left; a kill
 * in between can leave a `.<name>.<unique>.tmp` beside it, which readers of the directory must ignore.
 * @throws Error of fs with its `code`, such as ENOSPC.
 */
export function writeFileAtomic(path: string, data: string | Uint8Array, options: AtomicWriteOptions = {}): void {
  const directory = dirname(path);
  const temporary = join(directory, `.${basename(path)}.${process.pid}-${process.hrtime.bigint().toString(36)}.tmp`);
  const fd = openSync(temporary, "wx", 0o600);
  try {
    try {
      writeFileSync(fd, data);
      fchmodSync(fd, options.mode ?? 0o644);
      if (options.durable) fsyncSync(fd);
    } finally {
      closeSync(fd);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
  if (options.durable) syncDirectory(directory);
}

/** Makes renames and new names in a directory survive a power cut. @throws Error of fs */
export function syncDirectory(directory: string): void {
  const fd = openSync(directory, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}
