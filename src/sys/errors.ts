/**
 * Errors of system calls in the words of the C library, with the code that callers branch on.
 */
import { constants } from "node:os";
import { libc } from "./libc.ts";

let names: Map<number, string> | undefined;

/** The symbolic name of an error number: 17 → "EEXIST"; "E<number>" for one that this platform does not name. */
export function errnoName(errno: number): string {
  if (!names) {
    names = new Map();
    // The first name wins where two share a number (EAGAIN before EWOULDBLOCK, EOPNOTSUPP is named by Linux's own headers).
    for (const [name, number] of Object.entries(constants.errno)) if (!names.has(number)) names.set(number, name);
    names.set(constants.errno.EOPNOTSUPP, "EOPNOTSUPP");
  }
  return names.get(errno) ?? `E${errno}`;
}

/** The C library's text for an error number: 17 → "File exists". */
export const errnoText = (errno: number): string => libc().strerror(errno);

/** A failed system call: `ENOENT opening network namespace /run/netns/x: No such file or directory`. */
export class SysError extends Error {
  override readonly name = "SysError";
  /** Symbolic error code, such as "ENOENT". */
  readonly code: string;
  readonly errno: number;
  /** The system call that failed, such as "setns". */
  readonly syscall: string;

  /** @param what what was being done, as it goes between the code and the reason: "opening network namespace /x". */
  constructor(errno: number, syscall: string, what: string, options?: ErrorOptions) {
    super(`${errnoName(errno)} ${what}: ${errnoText(errno)}`, options);
    this.code = errnoName(errno);
    this.errno = errno;
    this.syscall = syscall;
  }

  /** The same for an error that one of Node's own fs functions threw; anything else is passed through. */
  static from(error: unknown, what: string): unknown {
    if (!(error instanceof Error)) return error;
    const { errno, syscall } = error as NodeJS.ErrnoException;
    if (errno === undefined || syscall === undefined) return error;
    return new SysError(Math.abs(errno), syscall, what, { cause: error });
  }
}
