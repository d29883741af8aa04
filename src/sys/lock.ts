/**
 * Mutual exclusion between processes by flock(2): the kernel releases the lock when the holder ends, however it
 * ends, so that no stale lock file can ever stop a node from making pods.
 */
import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { constants } from "node:os";
import { SysError } from "./errors.ts";
import { libc } from "./libc.ts";

const LOCK_EX = 2;
const ATTEMPTS = 16;
const held = new Set<string>();

/**
 * Runs a synchronous function while holding the lock of a file, which is created (mode 0600) where missing; its
 * directory must be there. Waits for the present holder: critical sections must be short.
 * @throws Error of open(2) and flock(2); Error when this process holds the lock already; TypeError when `fn` returns a promise.
 */
export function withLock<T>(path: string, fn: () => T): T {
  if (held.has(path)) throw new Error(`this process holds the lock ${path} already`);
  const fd = acquire(path);
  held.add(path);
  try {
    const result = fn();
    if (result instanceof Promise) {
      throw new TypeError(`the lock ${path} is held for a synchronous function only; this one returned a promise`);
    }
    return result;
  } finally {
    held.delete(path);
    closeSync(fd);
  }
}

/** The file may be removed (an uninstall) between open and flock; a lock on a file without a name locks nobody out. */
function acquire(path: string): number {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const fd = openSync(path, "a", 0o600);
    try {
      lock(fd, path);
      const there = statSync(path, { throwIfNoEntry: false });
      const ours = fstatSync(fd);
      if (there?.ino === ours.ino && there.dev === ours.dev) return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    closeSync(fd);
  }
  throw new Error(`the lock file ${path} was removed ${ATTEMPTS} times while it was being locked`);
}

function lock(fd: number, path: string): void {
  const { call, errno } = libc();
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (call.flock(fd, LOCK_EX) === 0) return;
    const number = errno();
    if (number !== constants.errno.EINTR) throw new SysError(number, "flock", `locking ${path}`);
  }
  throw new SysError(constants.errno.EINTR, "flock", `locking ${path}`);
}
