import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { readBtf } from "../../../src/dataplane/bpf/btf.ts";

/** A BTF of types as [name, kind, number of members, what follows as 32-bit numbers]. */
function btf(types: [string, number, number, number[]][], strings: Map<string, number>, text: string): Buffer {
  const body = Buffer.concat(
    types.map(([name, kind, count, rest]) => {
      const type = Buffer.alloc(12 + 4 * rest.length);
      type.writeUInt32LE(strings.get(name) ?? 0, 0);
      type.writeUInt32LE((kind << 24) | count, 4);
      for (const [at, value] of rest.entries()) type.writeUInt32LE(value, 12 + 4 * at);
      return type;
    }),
  );
  const header = Buffer.alloc(24);
  header.writeUInt16LE(0xeb9f, 0);
  for (const [at, value] of [24, 0, body.length, body.length, text.length].entries())
    header.writeUInt32LE(value, 4 + 4 * at);
  return Buffer.concat([header, body, Buffer.from(text, "latin1")]);
}

function strings(names: readonly string[], base = 0): { places: Map<string, number>; text: string } {
  const places = new Map<string, number>();
  let text = base === 0 ? "\0" : "";
  for (const name of names) {
    places.set(name, base + text.length);
    text += `${name}\0`;
  }
  return { places, text };
}

const wanted = { functions: ["lookup"], members: { nf_conn: ["status", "proto"], state: ["of"] } };

describe("the kernel's types", () => {
  let dir: string;
  before(() => {
    dir = mkdtempSync(join(tmpdir(), "btf-"));
  });
  after(() => rmSync(dir, { recursive: true }));

  it("have functions by id and members by offset, past kinds of every length", async () => {
    const { places, text } = strings(["lookup", "nf_conn", "status", "proto", "of", "lookups"]);
    const [status, proto, of] = ["status", "proto", "of"].map((name) => places.get(name) ?? 0) as [
      number,
      number,
      number,
    ];
    writeFileSync(
      join(dir, "vmlinux"),
      btf(
        [
          ["", 1, 0, [32]],
          ["", 3, 0, [1, 1, 4]],
          ["", 6, 2, [0, 0, 0, 1]],
          // A declaration of the name without members is not the structure.
          ["nf_conn", 4, 0, []],
          ["nf_conn", 4, 3, [status, 1, 1_024, of, 1, 8, proto, 1, 1_472]],
          ["lookups", 12, 0, []],
          ["", 13, 1, [0, 1]],
          ["lookup", 12, 0, []],
        ],
        places,
        text,
      ),
    );
    const found = await readBtf({ name: "vmlinux", base: { types: 0, strings: 0 } }, wanted, dir);
    assert.deepEqual([...found.functions], [["lookup", 8]]);
    assert.deepEqual(
      [...found.offsets],
      [
        ["nf_conn.status", 128],
        ["nf_conn.proto", 184],
      ],
    );
    assert.deepEqual(found.end, { types: 8, strings: text.length });
  });

  it("go on in a module's", async () => {
    const base = { types: 8, strings: 100 };
    const { places, text } = strings(["lookup"], base.strings);
    writeFileSync(
      join(dir, "module"),
      btf(
        [
          ["", 1, 0, [32]],
          ["lookup", 12, 0, []],
        ],
        places,
        text,
      ),
    );
    const { functions } = await readBtf({ name: "module", base }, wanted, dir);
    // The first name of a module has nothing before it.
    assert.deepEqual([...functions], [["lookup", 10]]);
  });

  it("are refused where they are none", async () => {
    writeFileSync(join(dir, "odd"), Buffer.alloc(64));
    await assert.rejects(readBtf({ name: "odd", base: { types: 0, strings: 0 } }, wanted, dir), /is no BTF/);
    await assert.rejects(readBtf({ name: "none", base: { types: 0, strings: 0 } }, wanted, dir), /ENOENT/);
  });
});
