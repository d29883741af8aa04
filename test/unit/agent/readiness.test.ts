import assert from "node:assert/strict";
import { assess } from "../../../src/observe/readiness.ts";

describe("readiness", () => {
  it("is all checks together, and a question that fails is a no with its reason", () => {
    const yes = { name: "a", ask: () => ({ ok: true, message: "fine" }) };
    const broken = {
      name: "b",
      ask: () => {
        throw new Error("no kernel");
      },
    };
    assert.equal(assess([yes]).ready, true);
    assert.deepEqual(assess([yes, broken]), {
      ready: false,
      checks: [
        { name: "a", ok: true, message: "fine" },
        { name: "b", ok: false, message: "no kernel" },
      ],
    });
  });
});
