import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import fc from "fast-check";
import { sha256Hex } from "../../../src/addr/index.ts";

describe("SHA-256", () => {
  const reference = (text: string): string => createHash("sha256").update(text).digest("hex");

  it("gives the digests of the standard", () => {
    assert.equal(sha256Hex("abc"), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert.equal(sha256Hex(""), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });
  it("agrees with the C library's at every length around a block", () => {
    for (let length = 0; length < 200; length++) {
      const text = "x".repeat(length);
      assert.equal(sha256Hex(text), reference(text), `length ${length}`);
    }
  });
  it("agrees for any text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "grapheme", maxLength: 300 }), (text) => {
        assert.equal(sha256Hex(text), reference(text));
      }),
    );
  });
});
