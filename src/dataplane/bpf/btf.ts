/**
 * What the kernel says of its own types (BTF, Documentation/bpf/btf.rst in the kernel's source): ids of functions that programs may call, and where
 * members of its structures are. So nothing of a kernel's layout is compiled into a program.
 *
 * The kernel's own BTF has some hundred thousand types in five megabytes. It is read in pieces, and names are compared as numbers: each has one
 * place among the strings.
 */
import { closeSync, openSync, readSync, readdirSync } from "node:fs";
import { join } from "node:path";
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
const ONCE: Readonly<Record<number, number>> = { [KIND.INT]: 4, [KIND.ARRAY]: 12, [KIND.VAR]: 4, [DECL_TAG]: 4 };
const EACH: Readonly<Record<number, number>> = {
  [KIND.STRUCT]: 12,
  [KIND.UNION]: 12,
  [KIND.ENUM]: 8,
  [KIND.FUNC_PROTO]: 8,
  [KIND.DATASEC]: 12,
  [ENUM64]: 12,
};
const TYPE = 12;

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

/** A part of a file, read in pieces; each is valid until the next one. */
function* pieces(fd: number, from: number, length: number): Generator<Buffer> {
  const piece = Buffer.allocUnsafe(Math.min(PIECE, length));
  for (let at = 0; at < length; at += piece.length)
    yield fill(fd, piece.subarray(0, Math.min(piece.length, length - at)), from + at);
}

/** Bytes one after the other out of pieces that end anywhere. */
class Reader {
  readonly #pieces: Iterator<Buffer>;
  #buffer = Buffer.alloc(0);
  #at = 0;
  /** Bytes that are behind. */
  passed = 0;

  constructor(source: Iterable<Buffer>) {
    this.#pieces = source[Symbol.iterator]();
  }

  /** The next bytes, valid until the next call. */
  take(length: number): Buffer {
    while (this.#buffer.length - this.#at < length) {
      const { value, done } = this.#pieces.next();
      if (done) throw new Error("the kernel's BTF ends within a type");
      this.#buffer = Buffer.concat([this.#buffer.subarray(this.#at), value]);
      this.#at = 0;
    }
    this.passed += length;
    return this.#buffer.subarray(this.#at, (this.#at += length));
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
 * Looks through one BTF.
 * @returns what it has of what is wanted, and where a module's would go on
 * @throws SysError when it cannot be read; Error when it is none
 */
export function readBtf({ name, base }: Btf, wanted: Wanted, directory = DIRECTORY): Found & { end: Btf["base"] } {
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
    const reader = new Reader(pieces(fd, headerLength + typeAt, typeLength));
    const found = types(reader, typeLength, base.types, places, wanted);
    return { ...found, end: { types: found.end, strings: base.strings + stringLength } };
  } finally {
    closeSync(fd);
  }
}

function types(
  reader: Reader,
  length: number,
  first: number,
  places: ReadonlyMap<number, string>,
  { functions: wantedFunctions, members: wantedMembers }: Wanted,
): Found & { end: number } {
  const functions = new Map<string, number>();
  const offsets = new Map<string, number>();
  let id = first;
  while (reader.passed < length) {
    id++;
    const type = reader.take(TYPE);
    const name = places.get(type.readUInt32LE(0));
    const info = type.readUInt32LE(4);
    const kind = (info >>> 24) & 0x1f;
    const count = info & 0xffff;
    const rest = reader.take((ONCE[kind] ?? 0) + (EACH[kind] ?? 0) * count);
    if (name === undefined) continue;
    if (kind === KIND.FUNC && wantedFunctions.includes(name)) functions.set(name, id);
    else if (kind === KIND.STRUCT && wantedMembers[name] && count > 0)
      for (let at = 0; at < rest.length; at += TYPE) {
        const member = places.get(rest.readUInt32LE(at));
        // Bits from the structure's beginning; where it has fields of single bits, their width is in the upper byte.
        if (member !== undefined && wantedMembers[name].includes(member))
          offsets.set(`${name}.${member}`, (rest.readUInt32LE(at + 8) & 0xffffff) / 8);
      }
  }
  return { functions, offsets, end: id };
}

/** Names of the modules that have a BTF of their own. */
export const modulesWithBtf = (directory = DIRECTORY): string[] =>
  readdirSync(directory).filter((name) => name !== VMLINUX);

/** The kernel's own. */
export const KERNEL: Btf = { name: VMLINUX, base: { types: 0, strings: 0 } };
