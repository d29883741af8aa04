import assert from "node:assert/strict";
import { setImmediate as turn } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { libc } from "../../../src/sys/libc.ts";

/** V8's own collection of everything that nothing leads to. */
function collector(): () => void {
  setFlagsFromString("--expose-gc");
  const gc = runInNewContext("gc") as () => void;
  setFlagsFromString("--no-expose-gc");
  return gc;
}

describe("a structure that points to a buffer", () => {
  const structures = (count: number): { structure: Buffer; target: WeakRef<Buffer> }[] =>
    Array.from({ length: count }, (_, n) => {
      const structure = Buffer.alloc(16);
      const target = Buffer.alloc(128, n);
      libc().pointTo(structure, 8, target);
      return { structure, target: new WeakRef(target) };
    });

  it("keeps it as long as it is there itself, and no longer", async () => {
    const collect = collector();
    const made = structures(64);
    // A weak reference holds its target until the turn of the event loop is over.
    await turn();
    collect();
    for (const { structure, target } of made) {
      assert.notEqual(structure.readBigUInt64LE(8), 0n);
      assert.ok(target.deref(), "what the structure points to was freed");
    }
    const targets = made.splice(0).map(({ target }) => target);
    await turn();
    collect();
    // Registers of the loop above may still hold the last.
    assert.ok(targets.filter((target) => target.deref()).length <= 2, "kept for ever");
  });

  it("points to another when that takes its place", async () => {
    const collect = collector();
    const structure = Buffer.alloc(8);
    const replace = (): WeakRef<Buffer> => {
      const first = Buffer.alloc(128);
      libc().pointTo(structure, 0, first);
      const address = structure.readBigUInt64LE(0);
      libc().pointTo(structure, 0, Buffer.alloc(128));
      assert.notEqual(structure.readBigUInt64LE(0), address);
      return new WeakRef(first);
    };
    const first = replace();
    await turn();
    collect();
    assert.equal(first.deref(), undefined);
  });
});
