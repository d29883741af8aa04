import assert from "node:assert/strict";
import { Damper } from "../../../src/nodes/damper.ts";
import { eventually } from "../../support/eventually.ts";

describe("what changes too often", () => {
  let now = 0;
  let due: string[] = [];
  let held: string[] = [];
  let damper: Damper;
  beforeEach(() => {
    now = 1_000;
    due = [];
    held = [];
    damper = new Damper({
      burst: 3,
      everyMs: 20,
      now: () => now,
      onDue: (name) => due.push(name),
      onHeld: (name) => held.push(name),
    });
  });
  afterEach(() => damper.stop());
  const takes = (name: string, times: number): number =>
    Array.from({ length: times }, () => damper.take(name)).filter(Boolean).length;

  it("is taken at once for some times, then held back and due once, and said once; nobody else is held back", async () => {
    assert.equal(takes("a", 500), 3);
    assert.equal(takes("b", 2), 2);
    assert.deepEqual(held, ["a"]);
    now += 20;
    await eventually(() => due.length > 0);
    assert.deepEqual(due, ["a"]);
    // What was due is taken, and the next one is held back again.
    assert.equal(takes("a", 500), 1);
    assert.deepEqual(held, ["a"]);
  });

  it("is taken at once again, and said again, after it was quiet", async () => {
    takes("a", 4);
    now += 20;
    await eventually(() => due.length > 0);
    now += 10_000;
    assert.equal(takes("a", 4), 3);
    assert.deepEqual(held, ["a", "a"]);
  });
});
