import assert from "node:assert/strict";
import { Backoff } from "../../../src/reconcile/index.ts";

describe("the backoff", () => {
  it("doubles an entry's pause up to its ceiling, one entry at a time, and starts anew after a success", () => {
    let now = 0;
    const backoff = new Backoff({ baseMs: 100, maxMs: 1_000, now: () => now });
    assert.equal(backoff.failed("a", "no"), true);
    assert.equal(backoff.failed("b", "no"), true);
    const pauses: (number | undefined)[] = [];
    for (let i = 0; i < 6; i++) {
      backoff.clear("b");
      pauses.push(backoff.nextIn());
      assert.equal(backoff.due("a"), false);
      now += backoff.nextIn() ?? 0;
      assert.equal(backoff.due("a"), true);
      assert.equal(backoff.failed("a", "no"), false);
    }
    assert.deepEqual(pauses, [100, 200, 400, 800, 1_000, 1_000]);
    assert.equal(backoff.due("b"), true);
    assert.equal(backoff.failed("a", "something else"), true);
    assert.deepEqual(backoff.errors(), new Map([["a", "something else"]]));
    backoff.clear("a");
    assert.equal(backoff.nextIn(), undefined);
    backoff.failed("a", "no");
    assert.equal(backoff.nextIn(), 100);
    backoff.keep(() => false);
    assert.equal(backoff.size, 0);
  });
});
