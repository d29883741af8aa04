import assert from "node:assert/strict";
import { Assembly, R0, R1, R2, R6, R10 } from "../../../src/dataplane/bpf/index.ts";

const names = {
  map: (name: string): number => {
    assert.equal(name, "pods4");
    return 7;
  },
  kfunc: (name: string) => ({ id: 4_711, module: name === "of_a_module" ? 2 : 0 }),
};
const hex = (a: Assembly): string[] => {
  const bytes = a.link(names);
  return Array.from({ length: bytes.length / 8 }, (_, at) => bytes.subarray(8 * at, 8 * at + 8).toString("hex"));
};

describe("the assembler of BPF programs", () => {
  // Against what llvm-mc makes of the same (RFC 9669 has the encoding).
  it("encodes moves, arithmetic, loads and stores", () => {
    const a = new Assembly()
      .move(R6, R1)
      .move(R0, -1)
      .move32(R2, -1)
      .alu(R1, "+=", 14)
      .alu(R1, ">>=", R2)
      .alu32(R0, "^=", R1)
      .swap(R1, 16)
      .load(4, R1, R6, 76)
      .load(1, R1, R6, 12)
      .store(2, R10, -8, R1)
      .store(8, R10, -16, 0)
      .exit();
    assert.deepEqual(hex(a), [
      "bf16000000000000",
      "b7000000ffffffff",
      "b4020000ffffffff",
      "070100000e000000",
      "7f21000000000000",
      "ac10000000000000",
      "dc01000010000000",
      "61614c0000000000",
      "71610c0000000000",
      "6b1af8ff00000000",
      "7a0af0ff00000000",
      "9500000000000000",
    ]);
  });

  it("jumps to places by name, and only ahead", () => {
    const a = new Assembly()
      .jumpIf(R1, "!=", 3, "out")
      .jumpIf(R1, ">", R2, "out")
      .jump("out")
      .exit(0)
      .label("out")
      .exit(1);
    assert.deepEqual(hex(a).slice(0, 3), ["5501040003000000", "2d21030000000000", "0500020000000000"]);
    assert.throws(() => new Assembly().label("loop").jump("loop").link(names), /jumps back to loop/);
    assert.throws(() => new Assembly().jump("nowhere").link(names), /nowhere/);
    assert.throws(() => new Assembly().label("twice").label("twice"), /twice/);
  });

  it("knows maps, helpers and the kernel's functions by name", () => {
    const a = new Assembly().map(R1, "pods4").call("redirect_peer").kfunc("own").kfunc("of_a_module");
    assert.deepEqual(hex(a), [
      "1811000007000000",
      "0000000000000000",
      "850000009b000000",
      "8520000067120000",
      "8520020067120000",
    ]);
    assert.deepEqual(a.kfuncs, ["own", "of_a_module"]);
  });
});
