/**
 * Mutual exclusion between processes by flock(2): the kernel releases the lock when the holder ends, however it
 * ends, so that no stale lock file can ever stop a node from making pods.
 */
import { closeSync, fstatSync, openSync, statSync } from "node:fs";
import { constants } from "node:os";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";

const LOCK_EX = 2;
const LOCK_NB = 4;
const ATTEMPTS = 16;
const held = new Set<string>();

/**
 * Runs a synchronous function while holding the lock of a file, which is created (mode 0600) where missing; its
 * directory must be there. Waits for the present holder: critical sections must be short.
 * @throws Error of open(2) and flock(2); Error when this process holds the lock already; TypeError when `fn` returns a promise.
 */
export function withLock<T>(path: string, fn: () => T): T {
  if (held.has(path)) throw new Error(`this process holds the lock ${path} already`);
  const fd = acquire(path, LOCK_EX) as number;
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

/** A lock that is held until it is released or the process ends. */
export interface HeldLock {
  /** Whether the file that is locked still has its name; another process could lock a new one otherwise. */
  named(): boolean;
  /** A second call does nothing. */
  release(): void;
}

/**
 * Takes the lock of a file (created, mode 0600, where missing) for as long as the process wants it, without waiting.
 * @returns undefined when another process holds it.
 * @throws Error of open(2) and flock(2); Error when this process holds the lock already.
 */
export function tryLock(path: string): HeldLock | undefined {
  if (held.has(path)) throw new Error(`this process holds the lock ${path} already`);
  const fd = acquire(path, LOCK_EX | LOCK_NB);
  if (fd === undefined) return undefined;
  held.add(path);
  let open = true;
  return {
    named: () => open && isNamed(fd, path),
    release: () => {
      if (!open) return;
      open = false;
      held.delete(path);
      closeSync(fd);
    },
  };
}

/** The file may be removed (an uninstall) between open and flock; a lock on a file without a name locks nobody out. */
function acquire(path: string, how: number): number | undefined {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    const fd = openSync(path, "a", 0o600);
    try {
      if (!lock(fd, path, how)) {
        closeSync(fd);
        return undefined;
      }
      if (isNamed(fd, path)) return fd;
    } catch (error) {
      closeSync(fd);
      throw error;
    }
    closeSync(fd);
  }
  throw new Error(`the lock file ${path} was removed ${ATTEMPTS} times while it was being locked`);
}

function isNamed(fd: number, path: string): boolean {
  const there = statSync(path, { throwIfNoEntry: false });
  const ours = fstatSync(fd);
  return there?.ino === ours.ino && there.dev === ours.dev;
}

/** Whether the lock was got; false only where `how` says not to wait. */
function lock(fd: number, path: string, how: number): boolean {
  const { call, errno } = libc();
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (call.flock(fd, how) === 0) return true;
    const number = errno();
    if (number === constants.errno.EWOULDBLOCK) return false;
    if (number !== constants.errno.EINTR) throw new SysError(number, "flock", `locking ${path}`);
  }
  throw new SysError(constants.errno.EINTR, "flock", `locking ${path}`);
}
