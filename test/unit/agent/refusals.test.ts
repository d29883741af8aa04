import assert from "node:assert/strict";
import { RefusalBook } from "../../../src/network/refusals.ts";
import type { Refusal } from "../../../src/peers/types.ts";

describe("refusals", () => {
  const refusal = (node: string, message = "m"): Refusal => ({ node, reason: "BadAnnotation", message });

  it("are news once, when they change and when they are lifted", () => {
    const book = new RefusalBook();
    assert.deepEqual(book.update([refusal("a"), refusal("b")]).fresh.length, 2);
    assert.deepEqual(book.update([refusal("a"), refusal("b")]), { fresh: [], lifted: [] });
    assert.deepEqual(book.update([refusal("a", "other")]), { fresh: [refusal("a", "other")], lifted: ["b"] });
    assert.deepEqual([...book.byReason()], [["BadAnnotation", 1]]);
  });
});
