/**
 * What the kernel says of its own types (BTF, Documentation/bpf/btf.rst in the kernel's source): ids of functions that programs may call, and where
 * members of its structures are. So nothing of a kernel's layout is compiled into a program.
 *
 * The kernel's own BTF has some hundred thousand types in five megabytes. It is read in pieces, and names are compared as numbers: each has one
 * place among the strings.
 */
import { closeSync, openSync, readSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import { SysError } from "../../sys/index.ts";

const DIRECTORY = "/sys/kernel/btf";
const VMLINUX = "vmlinux";
const MAGIC = 0xeb9f;
const HEADER = 24;
const PIECE = 256 * 1024;

/** BTF_KIND_*, and how many bytes follow a type of that kind: once, and for each of its members. */
const KIND = {
  INT: 1,
  ARRAY: 3,
  STRUCT: 4,
  UNION: 5,
  ENUM: 6,
  FUNC: 12,
  FUNC_PROTO: 13,
  VAR: 14,
  DATASEC: 15,
} as const;
const DECL_TAG = 17;
const ENUM64 = 19;
/** Of all kinds that there could be, so that most, which have nothing, are found in a list. */
const KINDS = 32;
const sizes = (of: Readonly<Record<number, number>>): readonly number[] =>
  Array.from({ length: KINDS }, (_, kind) => of[kind] ?? 0);
const ONCE = sizes({ [KIND.INT]: 4, [KIND.ARRAY]: 12, [KIND.VAR]: 4, [DECL_TAG]: 4 });
const EACH = sizes({
  [KIND.STRUCT]: 12,
  [KIND.UNION]: 12,
  [KIND.ENUM]: 8,
  [KIND.FUNC_PROTO]: 8,
  [KIND.DATASEC]: 12,
  [ENUM64]: 12,
});
/** Numbers of four bytes that begin a type, and that a member has. */
const TYPE = 3;
const MEMBER = 3;

/** What to look for. */
export interface Wanted {
  functions: readonly string[];
  /** Members by structure, each by its name. */
  members: Readonly<Record<string, readonly string[]>>;
}

/** What was found; what this kernel does not have is missing. */
export interface Found {
  functions: Map<string, number>;
  /** Offsets in bytes, as "nf_conn.status". */
  offsets: Map<string, number>;
}

/** One BTF: the kernel's own, or a module's, which goes on where the kernel's ends. */
export interface Btf {
  /** "vmlinux", or the module's name. */
  name: string;
  /** Types and bytes of strings of the one before. */
  base: { types: number; strings: number };
}

/** Fills a buffer from a file; one read gives no more than a page of it. @throws Error when the file ends before */
function fill(fd: number, buffer: Buffer, from: number): Buffer {
  for (let at = 0; at < buffer.length; ) {
    const got = readSync(fd, buffer, at, buffer.length - at, from + at);
    if (got === 0) throw new Error("the kernel's BTF ends before its own end");
    at += got;
  }
  return buffer;
}

/** Types as numbers of four bytes, of which all of them are made, a piece of the file at a time: an object for each of a hundred thousand would take longer than all else. */
class Words {
  readonly #fd: number;
  /** Where in the file what is not read yet is, and its end. */
  #from: number;
  readonly #to: number;
  readonly #bytes = Buffer.alloc(PIECE);
  /** What is read. */
  readonly words = new Uint32Array(this.#bytes.buffer, this.#bytes.byteOffset, PIECE / 4);
  /** The next of them. */
  at = 0;
  /** How many pieces were read. */
  pieces = 0;
  #end = 0;

  constructor(fd: number, from: number, length: number) {
    this.#fd = fd;
    this.#from = from;
    this.#to = from + length;
  }

  /** Has so many be read, from `at` on. @returns false at the end. @throws Error when the end is within them */
  have(count: number): boolean {
    if (this.at + count <= this.#end) return true;
    const left = Math.max(0, this.#end - this.at);
    // Of what was passed over beyond the piece nothing need be read.
    this.#from += 4 * Math.max(0, this.at - this.#end);
    this.words.copyWithin(0, this.#end - left, this.#end);
    const more = Math.min(PIECE - 4 * left, this.#to - this.#from);
    if (more <= 0 && left === 0) return false;
    if (left + more / 4 < count) throw new Error("the kernel's BTF ends within a type");
    fill(this.#fd, this.#bytes.subarray(4 * left, 4 * left + more), this.#from);
    this.pieces++;
    this.#from += more;
    this.at = 0;
    this.#end = left + more / 4;
    return true;
  }
}

/** Where names are among strings; those that are there. */
function placesOf(strings: Buffer, names: Iterable<string>, base: number): Map<number, string> {
  const places = new Map<number, string>();
  for (const name of names) {
    const word = Buffer.from(`\0${name}\0`, "latin1");
    // A module's strings begin with one, the kernel's own with an empty one.
    const first = strings.subarray(0, word.length - 1).equals(word.subarray(1));
    const at = first ? 0 : strings.indexOf(word) + 1;
    if (first || at > 0) places.set(base + at, name);
  }
  return places;
}

/**
 * Looks through one BTF. It takes tens of milliseconds, so others come in between.
 * @returns what it has of what is wanted, and where a module's would go on
 * @throws SysError when it cannot be read; Error when it is none
 */
export async function readBtf(
  { name, base }: Btf,
  wanted: Wanted,
  directory = DIRECTORY,
): Promise<Found & { end: Btf["base"] }> {
  const path = join(directory, name);
  let fd: number;
  try {
    fd = openSync(path, "r");
  } catch (error) {
    throw SysError.from(error, `reading the kernel's types (${path})`);
  }
  try {
    const header = fill(fd, Buffer.alloc(HEADER), 0);
    if (header.readUInt16LE(0) !== MAGIC) throw new Error(`${path} is no BTF that this machine can read`);
    const [headerLength, typeAt, typeLength, stringAt, stringLength] = [4, 8, 12, 16, 20].map((at) =>
      header.readUInt32LE(at),
    ) as [number, number, number, number, number];
    const names = new Set([
      ...wanted.functions,
      ...Object.keys(wanted.members),
      ...Object.values(wanted.members).flat(),
    ]);
    const strings = fill(fd, Buffer.allocUnsafe(stringLength), headerLength + stringAt);
    const places = placesOf(strings, names, base.strings);
    await turn();
    const found = await types(new Words(fd, headerLength + typeAt, typeLength), base.types, places, wanted);
    return { ...found, end: { types: found.end, strings: base.strings + stringLength } };
  } finally {
    closeSync(fd);
  }
}

async function types(
  source: Words,
  first: number,
  places: ReadonlyMap<number, string>,
  { functions: wantedFunctions, members: wantedMembers }: Wanted,
): Promise<Found & { end: number }> {
  const functions = new Map<string, number>();
  const offsets = new Map<string, number>();
  const { words } = source;
  const word = (at: number): number => words[at] as number;
  let id = first;
  let pieces = 0;
  while (source.have(TYPE)) {
    if (source.pieces !== pieces) {
      pieces = source.pieces;
      await turn();
    }
    id++;
    const name = places.get(word(source.at));
    const info = word(source.at + 1);
    source.at += TYPE;
    const kind = (info >>> 24) & 0x1f;
    const count = info & 0xffff;
    const rest = ((ONCE[kind] as number) + (EACH[kind] as number) * count) / 4;
    if (name !== undefined && kind === KIND.FUNC && wantedFunctions.includes(name)) functions.set(name, id);
    else if (name !== undefined && kind === KIND.STRUCT && wantedMembers[name] && count > 0) {
      if (!source.have(rest)) throw new Error("the kernel's BTF ends within a type");
      for (let at = source.at; at < source.at + rest; at += MEMBER) {
        const member = places.get(word(at));
        // Bits from the structure's beginning; where it has fields of single bits, their width is in the upper byte.
        if (member !== undefined && wantedMembers[name].includes(member))
          offsets.set(`${name}.${member}`, (word(at + 2) & 0xffffff) / 8);
      }
    }
    source.at += rest;
  }
  return { functions, offsets, end: id };
}

/** Names of the modules that have a BTF of their own. */
export const modulesWithBtf = (directory = DIRECTORY): string[] =>
  readdirSync(directory).filter((name) => name !== VMLINUX);

/** The kernel's own. */
export const KERNEL: Btf = { name: VMLINUX, base: { types: 0, strings: 0 } };
