/**
 * Puts BPF instructions together: what a program is, with places by name, maps by name and the kernel's own functions by name. Nothing here
 * asks the kernel for anything; {@link Assembly.link} is given what names stand for.
 */
import { ALU, HELPER, type Helper, JUMP, type Register, R0, SIZE, type Size } from "./instructions.ts";

/** What a program's names stand for on this kernel. */
export interface Names {
  /** Descriptor of a map. @throws Error when there is none of that name */
  map(name: string): number;
  /** Type id of a kernel function, and of which module's BTF: its place in the list that goes with the program, 0 for the kernel's own. */
  kfunc(name: string): { id: number; module: number };
}

const LD_IMM64 = 0x18;
const PSEUDO_MAP_FD = 1;
const CALL = 0x85;
const PSEUDO_KFUNC_CALL = 2;
const INSTRUCTION = 8;

interface Instruction {
  op: number;
  dst: number;
  src: number;
  offset: number;
  imm: number;
  /** Where a jump goes. */
  target?: string;
  map?: string;
  kfunc?: string;
}

/** A program in the making; every method adds to its end. */
export class Assembly {
  readonly #code: Instruction[] = [];
  readonly #labels = new Map<string, number>();

  /** dst = a register or a number of 32 bits, with its sign. */
  move(dst: Register, value: Register | number): this {
    return typeof value === "number"
      ? this.#add({ op: 0xb7, dst: dst.register, imm: value })
      : this.#add({ op: 0xbf, dst: dst.register, src: value.register });
  }

  /** dst = a number of 32 bits without a sign, as a load of four bytes gives it. */
  move32(dst: Register, value: number): this {
    return this.#add({ op: 0xb4, dst: dst.register, imm: value });
  }

  /** An operation on all 64 bits, as `alu(R1, "+=", 14)`. */
  alu(dst: Register, operation: keyof typeof ALU, value: Register | number): this {
    return this.#operate(0x07, dst, ALU[operation], value);
  }

  /** The same on the lower 32; the upper ones are zero after it. */
  alu32(dst: Register, operation: keyof typeof ALU, value: Register | number): this {
    return this.#operate(0x04, dst, ALU[operation], value);
  }

  /** Between network order and this machine's, of the lower 16 or 32 bits; all above are zero after it. */
  swap(dst: Register, bits: 16 | 32): this {
    return this.#add({ op: 0xdc, dst: dst.register, imm: bits });
  }

  /** dst = so many bytes at base + offset. */
  load(size: Size, dst: Register, base: Register, offset: number): this {
    return this.#add({ op: 0x61 | SIZE[size], dst: dst.register, src: base.register, offset });
  }

  /** So many bytes at base + offset = a register or a number. */
  store(size: Size, base: Register, offset: number, value: Register | number): this {
    return typeof value === "number"
      ? this.#add({ op: 0x62 | SIZE[size], dst: base.register, offset, imm: value })
      : this.#add({ op: 0x63 | SIZE[size], dst: base.register, src: value.register, offset });
  }

  /** A place to jump to. @throws Error when there is one of that name */
  label(name: string): this {
    if (this.#labels.has(name)) throw new Error(`two places of a program are called ${name}`);
    this.#labels.set(name, this.#code.length);
    return this;
  }

  jump(target: string): this {
    return this.#add({ op: 0x05, target });
  }

  /** Goes elsewhere if it is so, as `jumpIf(R1, "!=", 0x45, "shape")`. */
  jumpIf(dst: Register, comparison: keyof typeof JUMP, value: Register | number, target: string): this {
    return this.#operate(0x05, dst, JUMP[comparison], value, target);
  }

  /** Calls a helper: its result is in R0. */
  call(helper: Helper): this {
    return this.#add({ op: CALL, imm: HELPER[helper] });
  }

  /** Calls a function of the kernel by its name. */
  kfunc(name: string): this {
    return this.#add({ op: CALL, src: PSEUDO_KFUNC_CALL, kfunc: name });
  }

  /** dst = a map, for a call. */
  map(dst: Register, name: string): this {
    this.#add({ op: LD_IMM64, dst: dst.register, src: PSEUDO_MAP_FD, map: name });
    return this.#add({ op: 0 });
  }

  /** Ends the program. @param result of the program; what is in R0 by default */
  exit(result?: number): this {
    if (result !== undefined) this.move(R0, result);
    return this.#add({ op: 0x95 });
  }

  /** Whether something jumps to a place: the verifier wants no instruction that nothing leads to. */
  leadsTo(target: string): boolean {
    return this.#code.some((instruction) => instruction.target === target);
  }

  /** Names of the kernel's functions that are called. */
  get kfuncs(): string[] {
    return [...new Set(this.#code.flatMap(({ kfunc }) => kfunc ?? []))];
  }

  /** How many instructions it has. */
  get length(): number {
    return this.#code.length;
  }

  /** The program as the kernel takes it. @throws Error when a place is missing or too far away, and what `names` throws */
  link(names: Names): Buffer {
    const bytes = Buffer.alloc(this.#code.length * INSTRUCTION);
    for (const [at, { op, dst, src, offset, imm, target, map, kfunc }] of this.#code.entries()) {
      const from = at * INSTRUCTION;
      const called = kfunc === undefined ? undefined : names.kfunc(kfunc);
      bytes[from] = op;
      bytes[from + 1] = dst | (src << 4);
      bytes.writeInt16LE(called?.module ?? (target === undefined ? offset : this.#distance(at, target)), from + 2);
      bytes.writeInt32LE(called?.id ?? (map === undefined ? imm | 0 : names.map(map)), from + 4);
    }
    return bytes;
  }

  #distance(at: number, target: string): number {
    const place = this.#labels.get(target);
    if (place === undefined) throw new Error(`a program jumps to ${target}, which is nowhere`);
    // Behind itself only: a program that is written so ends.
    if (place <= at) throw new Error(`a program jumps back to ${target}`);
    return place - at - 1;
  }

  #operate(kind: number, dst: Register, code: number, value: Register | number, target?: string): this {
    const to = target === undefined ? {} : { target };
    return typeof value === "number"
      ? this.#add({ op: kind | code, dst: dst.register, imm: value, ...to })
      : this.#add({ op: kind | code | 0x08, dst: dst.register, src: value.register, ...to });
  }

  #add(instruction: Partial<Instruction> & { op: number }): this {
    this.#code.push({ dst: 0, src: 0, offset: 0, imm: 0, ...instruction });
    return this;
  }
}
