import assert from "node:assert/strict";
import { RefusalLog } from "../../../src/network/refusals.ts";
import type { Refusal } from "../../../src/peers/types.ts";

describe("refusals", () => {
  const refusal = (node: string, message = "m"): Refusal => ({ node, reason: "BadAnnotation", message });

  it("are news once, when they change and when they are lifted", () => {
    const refusals = new RefusalLog();
    assert.deepEqual(refusals.update([refusal("a"), refusal("b")]).fresh.length, 2);
    assert.deepEqual(refusals.update([refusal("a"), refusal("b")]), { fresh: [], lifted: [] });
    assert.deepEqual(refusals.update([refusal("a", "other")]), { fresh: [refusal("a", "other")], lifted: ["b"] });
    assert.deepEqual([...refusals.byReason()], [["BadAnnotation", 1]]);
  });
});
