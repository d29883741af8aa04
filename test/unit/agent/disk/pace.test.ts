import assert from "node:assert/strict";
import { RepairPace } from "../../../../src/agent/disk/pace.ts";

describe("the pace of repairs on the disk", () => {
  it("makes many at once, holds a fight to a few, and forgets it", () => {
    let now = 0;
    const pace = new RepairPace(() => now);
    const last = Array.from({ length: 30 }, () => {
      assert.equal(pace.restMs, 0);
      return pace.made();
    });
    assert.deepEqual([last.indexOf(true), last.lastIndexOf(true)], [29, 29], "said at the end of the burst, once");
    let made = 0;
    for (; now < 600_000; now += 50)
      if (pace.restMs === 0) {
        pace.made();
        made++;
      }
    assert.ok(made > 200 && made <= 301, `${made} repairs in ten minutes of a fight`);
    now += 600_000;
    for (let i = 0; i < 30; i++) {
      assert.equal(pace.restMs, 0);
      pace.made();
    }
  });
});
