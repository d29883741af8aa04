/**
 * Classic BPF (linux/filter.h), for what the kernel shall not even hand to a socket. A load takes what it finds as a number of the network's
 * byte order.
 */
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";

const SOL_SOCKET = 1;
const SO_ATTACH_FILTER = 26;
const INSTRUCTION = 8;

/** BPF_LD | BPF_W | BPF_ABS: a load of four bytes. */
export const LOAD_WORD = 0x20;

/** A number that the kernel wrote in this machine's byte order, as a load of four bytes finds it. */
export function numberInFilter(value: number): number {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value >>> 0);
  return bytes.readUInt32BE();
}

/** An instruction: how many further ones it passes over where a comparison holds (`jt`) and where it does not (`jf`). */
export type FilterInstruction = readonly [code: number, jt: number, jf: number, k: number];

/** Has a socket take only what a program returns another number than 0 for, in place of the program that it has. @throws SysError */
export function attachFilter(fd: number, instructions: readonly FilterInstruction[]): void {
  const program = Buffer.alloc(instructions.length * INSTRUCTION);
  for (const [n, [code, jt, jf, k]] of instructions.entries()) {
    const at = n * INSTRUCTION;
    program.writeUInt16LE(code, at);
    program[at + 2] = jt;
    program[at + 3] = jf;
    program.writeUInt32LE(k, at + 4);
  }
  const { call, errno, pointTo } = libc();
  const head = Buffer.alloc(16);
  head.writeUInt16LE(instructions.length, 0);
  pointTo(head, 8, program);
  if (call.setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, head, head.length) !== 0)
    throw new SysError(errno(), "setsockopt", "attaching a filter to a socket");
}
