/**
 * bpf(2), for which the C library has no function of its own: one system call with a command and a structure (union bpf_attr,
 * linux/bpf.h), whose pointers are addresses of buffers.
 */
import { arch } from "node:process";
import { SysError } from "./errors.ts";
import { libc } from "./libc.ts";

/** Number of the system call (asm/unistd.h), by the names that Node has for processors. */
const NUMBERS: Readonly<Record<string, bigint>> = { x64: 321n, arm64: 280n };
const ENOSYS = 38;

/**
 * Makes one call.
 * @param doing what it is for, in errors: "creating a map"
 * @returns what the kernel returns, a descriptor for most commands, that is closed on exec
 * @throws SysError EPERM where this process may not, EINVAL where this kernel cannot
 */
export function bpf(command: number, attribute: Buffer, doing: string): number {
  const number = NUMBERS[arch];
  if (number === undefined) throw new SysError(ENOSYS, "bpf", `${doing} on ${arch}`);
  const { call, errno } = libc();
  const result = Number(call.syscall(number, command, attribute, attribute.length));
  if (result < 0) throw new SysError(errno(), "bpf", doing);
  return result;
}

/** Has an attribute point to a buffer, which is there as long as the attribute is. */
export const pointTo = (attribute: Buffer, offset: number, buffer: Buffer): void =>
  libc().pointTo(attribute, offset, buffer);
