/**
 * Entering network namespaces. A namespace belongs to a thread; Skylane moves the main thread there and back
 * within one synchronous function, so nothing else of the process ever runs inside. What is opened inside (a
 * netlink socket, a file of /proc/sys/net) keeps belonging to that namespace afterwards.
 *
 * Threads are born in the namespace of the thread that makes them. libuv makes its pool at the first
 * asynchronous file or DNS call; made inside a pod's namespace, it would do the agent's work there for ever. So
 * the pool is made before the first entry, and functions that return a promise are refused.
 */
import { closeSync, constants, fstatSync, openSync, stat, statSync, unlinkSync, writeSync } from "node:fs";
import { constants as os } from "node:os";
import { SysError } from "./errors.ts";
import { libc } from "./libc.ts";

const CLONE_NEWNET = 0x4000_0000;
/** linux/nsfs.h: the type of the namespace that a file descriptor stands for. */
const NS_GET_NSTYPE = 0xb703n;
const NOTHING = Buffer.alloc(0);

let poolStarted = false;

/**
 * Makes libuv's pool threads now, in the namespace in which the process is. uv_queue_work starts all of them
 * before it returns, so the call has done its work when its callback is still to come.
 */
function startThreadPool(): void {
  if (poolStarted) return;
  poolStarted = true;
  stat("/proc/self", () => undefined);
}

/** Namespaces that somebody else has opened for us, by the paths that they go by. */
const lent = new Map<string, { fd: number; uses: number }>();

/**
 * Lets a path stand for an open namespace, until it is disposed of, instead of for what it leads to here: in a container it
 * may lead to another file or none. The descriptor stays the caller's and must stay open for so long.
 * @returns undefined when the path stands for another open namespace at present. @throws SysError of fstat(2)
 */
export function lendNetns(path: string, fd: number): Disposable | undefined {
  const there = lent.get(path);
  if (there && !sameNetns(netnsIdentity(there.fd), netnsIdentity(fd))) return undefined;
  const entry = there ?? { fd: openSync(`/proc/self/fd/${fd}`, "r"), uses: 0 };
  entry.uses++;
  lent.set(path, entry);
  return {
    [Symbol.dispose]: () => {
      if (--entry.uses > 0) return;
      lent.delete(path);
      closeSync(entry.fd);
    },
  };
}

/** Where the namespace of that path is found: the path itself, unless it was lent. */
export function visibleNetns(path: string): string {
  const there = lent.get(path);
  return there ? `/proc/self/fd/${there.fd}` : path;
}

/** Whether a descriptor is one of a network namespace. */
export const isNetns = (fd: number): boolean => libc().call.ioctl(fd, NS_GET_NSTYPE, NOTHING) === CLONE_NEWNET;

/**
 * Opens a network namespace by path and returns a file descriptor, closed on exec; the caller closes it.
 * @throws SysError ENOENT where there is no such file; EINVAL where the file is no network namespace (an
 * unmounted leftover of `ip netns`, for one).
 */
export function openNetns(path: string): number {
  let fd: number;
  try {
    // A path from a request may lead to anything: opening a FIFO would wait for somebody to write into it.
    fd = openSync(visibleNetns(path), constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    throw SysError.from(error, `opening network namespace ${path}`);
  }
  if (!isNetns(fd)) {
    closeSync(fd);
    throw new SysError(os.errno.EINVAL, "ioctl", `opening ${path}, which is not a network namespace`);
  }
  return fd;
}

/** Closes a file descriptor. @throws SysError EBADF when it was not open, which is a mistake of the caller's. */
export function closeFd(fd: number): void {
  try {
    closeSync(fd);
  } catch (error) {
    throw SysError.from(error, `closing file descriptor ${fd}`);
  }
}

/**
 * Runs a synchronous function inside a network namespace (path or file descriptor) and returns its result.
 * Calls nest. The process aborts if the way back fails, since everything after that would act on the wrong network.
 * @throws SysError when the namespace cannot be opened or entered; TypeError when `fn` returns a promise.
 */
export function withNetns<T>(netns: number | string, fn: () => T): T {
  startThreadPool();
  const target = typeof netns === "string" ? openNetns(netns) : netns;
  try {
    // Of the thread, not of the process: /proc/self would name the main thread's from a worker as well.
    const home = openSync("/proc/thread-self/ns/net", "r");
    try {
      enter(target, typeof netns === "string" ? netns : `of file descriptor ${netns}`);
      let result: T;
      try {
        result = fn();
      } finally {
        leaveTo(home);
      }
      if (result instanceof Promise) {
        throw new TypeError("withNetns takes a synchronous function: what follows an await would run outside");
      }
      return result;
    } finally {
      closeSync(home);
    }
  } finally {
    if (typeof netns === "string") closeSync(target);
  }
}

/**
 * Makes a network namespace that has no name, to try things in, and returns a file descriptor of it; the process stays
 * where it is. The namespace goes, with all that is in it, when the caller closes the descriptor and what was opened
 * inside, or the process ends, however that happens.
 * @throws SysError EPERM without CAP_SYS_ADMIN
 */
export function newNetns(): number {
  startThreadPool();
  const home = openSync("/proc/thread-self/ns/net", "r");
  try {
    const { call, errno } = libc();
    if (call.unshare(CLONE_NEWNET) !== 0) throw new SysError(errno(), "unshare", "making a network namespace");
    try {
      return openSync("/proc/thread-self/ns/net", "r");
    } finally {
      leaveTo(home);
    }
  } finally {
    closeSync(home);
  }
}

/** umount2(2): at once here, whoever still uses it. */
const MNT_DETACH = 2;

/**
 * Takes the name of a network namespace away, in every mount namespace; whoever has it open keeps it. That there is none is fine.
 * @throws SysError of umount2(2) or unlink(2)
 */
export function forgetNetns(path: string): void {
  const { call, errno } = libc();
  if (call.umount2(Buffer.from(`${path}\0`), MNT_DETACH) !== 0) {
    const number = errno();
    // Not mounted here: a file that a mount has left, or nothing.
    if (number !== os.errno.EINVAL && number !== os.errno.ENOENT)
      throw new SysError(number, "umount2", `taking the name ${path} away`);
  }
  try {
    unlinkSync(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw SysError.from(error, `removing ${path}`);
  }
}

function enter(fd: number, what: string): void {
  const { call, errno } = libc();
  if (call.setns(fd, CLONE_NEWNET) !== 0) throw new SysError(errno(), "setns", `entering network namespace ${what}`);
}

function leaveTo(home: number): void {
  const { call, errno } = libc();
  if (call.setns(home, CLONE_NEWNET) === 0) return;
  const number = errno();
  try {
    writeSync(2, `skylane: cannot return to the process's own network namespace (errno ${number}); aborting\n`);
  } finally {
    process.abort();
  }
}

/** Device and inode number of a namespace: two paths or descriptors stand for the same one if both are equal. */
export interface NetnsIdentity {
  dev: number;
  ino: number;
}

/** Whether two identities are one namespace's. */
export const sameNetns = (a: NetnsIdentity, b: NetnsIdentity): boolean => a.dev === b.dev && a.ino === b.ino;

/** The identity of a namespace given by path or descriptor. @throws SysError ENOENT and others of stat(2). */
export function netnsIdentity(netns: number | string): NetnsIdentity {
  try {
    const { dev, ino } = typeof netns === "number" ? fstatSync(netns) : statSync(visibleNetns(netns));
    return { dev, ino };
  } catch (error) {
    throw SysError.from(error, `looking at network namespace ${netns}`);
  }
}
