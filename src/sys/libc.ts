/**
 * The few libc functions that Node does not offer, through `node:ffi`. This is the only file that knows about
 * foreign functions: `node:ffi` is experimental, but the exact Node is shipped with Skylane, and whatever
 * changes in it changes here. It is loaded at the first call, so that importing Skylane's modules costs nothing
 * and works while a start-up snapshot is built.
 */
import type * as FFI from "node:ffi";

/** Signatures of what is used. `ssize_t` is read as a 64-bit integer, `size_t` passed as one. */
const SYMBOLS = {
  __errno_location: { arguments: [], return: "pointer" },
  strerror: { arguments: ["i32"], return: "pointer" },
  socket: { arguments: ["i32", "i32", "i32"], return: "i32" },
  bind: { arguments: ["i32", "buffer", "u32"], return: "i32" },
  getsockname: { arguments: ["i32", "buffer", "buffer"], return: "i32" },
  setsockopt: { arguments: ["i32", "i32", "i32", "buffer", "u32"], return: "i32" },
  getsockopt: { arguments: ["i32", "i32", "i32", "buffer", "buffer"], return: "i32" },
  sendto: { arguments: ["i32", "buffer", "u64", "i32", "buffer", "u32"], return: "i64" },
  recvfrom: { arguments: ["i32", "buffer", "u64", "i32", "buffer", "buffer"], return: "i64" },
  sendmsg: { arguments: ["i32", "buffer", "i32"], return: "i64" },
  recvmsg: { arguments: ["i32", "buffer", "i32"], return: "i64" },
  setns: { arguments: ["i32", "i32"], return: "i32" },
  unshare: { arguments: ["i32"], return: "i32" },
  umount2: { arguments: ["buffer", "i32"], return: "i32" },
  flock: { arguments: ["i32", "i32"], return: "i32" },
  fcntl: { arguments: ["i32", "i32", "i32"], return: "i32" },
  poll: { arguments: ["buffer", "u64", "i32"], return: "i32" },
  ioctl: { arguments: ["i32", "u64", "buffer"], return: "i32" },
  clock_gettime: { arguments: ["i32", "buffer"], return: "i32" },
  // of the GNU C library, with which the Node that is shipped is linked on every system
  malloc_trim: { arguments: ["u64"], return: "i32" },
  syscall: { arguments: ["i64", "i32", "buffer", "u32"], return: "i64" },
} as const satisfies FFI.FunctionDefinitions;

/** libc, ready to be called. Integers are numbers, 64-bit ones are bigints, memory is passed as a Buffer. */
export interface Libc {
  readonly call: FFI.WrappedFunctionsFromDefinitions<typeof SYMBOLS>;
  /**
   * `errno` of this thread. Read it at once after the failed call: nothing else of Node must run between, since a
   * system call of the garbage collector could overwrite it.
   */
  readonly errno: () => number;
  /** The C library's own text for an error number ("File exists"), as every other tool prints it. */
  readonly strerror: (errno: number) => string;
  /**
   * Writes the address of a buffer's bytes into a structure. The structure keeps the buffer: whoever makes a call with the one needs not hold the
   * other, which the collector would free as soon as no line of code below reads it, and the kernel would find other bytes there.
   */
  readonly pointTo: (structure: Buffer, offset: number, buffer: Buffer) => void;
}

let loaded: Libc | undefined;

/** What structures point to, by offset. */
const kept = new WeakMap<Buffer, Map<number, Buffer>>();

/** The C library, loaded at the first call. @throws Error when this Node has no `node:ffi`. */
export function libc(): Libc {
  return (loaded ??= load());
}

function load(): Libc {
  const ffi = process.getBuiltinModule("node:ffi") as typeof FFI | undefined;
  if (!ffi) throw new Error(`Node ${process.version} has no node:ffi; Skylane needs the Node that it is shipped with`);
  // null: the process itself, which is linked with the C library, whatever file that is on this system.
  const { functions } = ffi.dlopen(null, SYMBOLS);
  const location = functions.__errno_location();
  return {
    call: functions,
    errno: () => ffi.getInt32(location, 0),
    strerror: (errno) => ffi.toString(functions.strerror(errno)) ?? `error ${errno}`,
    pointTo: (structure, offset, buffer) => {
      structure.writeBigUInt64LE(ffi.getRawPointer(buffer), offset);
      let targets = kept.get(structure);
      if (!targets) kept.set(structure, (targets = new Map()));
      targets.set(offset, buffer);
    },
  };
}
