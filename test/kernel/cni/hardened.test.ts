import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { BIN } from "./node.ts";

/** elf.h */
const ET_DYN = 3;
const PT_DYNAMIC = 2;
const PT_LOAD = 1;
const PT_INTERP = 3;
const PT_GNU_STACK = 0x6474e551;
const PT_GNU_RELRO = 0x6474e552;
const [PF_X, PF_W] = [1, 2];
const DT_NULL = 0n;
const DT_FLAGS = 30n;
const DT_FLAGS_1 = 0x6fff_fffbn;
const DF_BIND_NOW = 8n;
const DF_1_NOW = 1n;
const DF_1_PIE = 0x0800_0000n;

interface Segment {
  type: number;
  flags: number;
  offset: number;
  size: number;
}

/** The program headers of a 64-bit little-endian ELF file. */
function segmentsOf(file: Buffer): Segment[] {
  assert.equal(file.toString("latin1", 0, 6), "\x7fELF\x02\x01");
  const [start, size, count] = [Number(file.readBigUInt64LE(32)), file.readUInt16LE(54), file.readUInt16LE(56)];
  return Array.from({ length: count }, (_, n) => {
    const at = start + n * size;
    return {
      type: file.readUInt32LE(at),
      flags: file.readUInt32LE(at + 4),
      offset: Number(file.readBigUInt64LE(at + 8)),
      size: Number(file.readBigUInt64LE(at + 32)),
    };
  });
}

/** The dynamic section, by tag. */
function dynamicOf(file: Buffer, { offset, size }: Segment): Map<bigint, bigint> {
  const entries = new Map<bigint, bigint>();
  for (let at = offset; at < offset + size; at += 16) {
    const tag = file.readBigUInt64LE(at);
    if (tag === DT_NULL) break;
    entries.set(tag, file.readBigUInt64LE(at + 8));
  }
  return entries;
}

describe("the launcher as it was built", () => {
  for (const name of ["skylane", "skylane-agent", "skylanectl"])
    it(`is hardened, static and at no fixed address: ${name}`, () => {
      const file = readFileSync(join(BIN, name));
      const segments = segmentsOf(file);
      const of = (type: number) => segments.filter((segment) => segment.type === type);
      assert.equal(file.readUInt16LE(16), ET_DYN, "it is position independent");
      assert.deepEqual(of(PT_INTERP), [], "it needs no loader of the host");
      const [dynamic] = of(PT_DYNAMIC);
      assert.ok(dynamic);
      const entries = dynamicOf(file, dynamic);
      const flags = entries.get(DT_FLAGS_1) ?? 0n;
      assert.notEqual(flags & DF_1_PIE, 0n, "PIE");
      assert.ok(
        (flags & DF_1_NOW) !== 0n || ((entries.get(DT_FLAGS) ?? 0n) & DF_BIND_NOW) !== 0n,
        "bound at its start",
      );
      assert.equal(of(PT_GNU_RELRO).length, 1, "RELRO");
      assert.deepEqual(
        of(PT_GNU_STACK).map((segment) => segment.flags & PF_X),
        [0],
        "no executable stack",
      );
      for (const { flags: how } of of(PT_LOAD)) assert.notEqual(how & (PF_W | PF_X), PF_W | PF_X, "writable code");
      assert.match(file.toString("latin1"), /hardening: pie=[12] ssp-strong=3 fortify=[23]\0/);
    });
});
