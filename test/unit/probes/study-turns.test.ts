/** Whose paths are studied next. */
import assert from "node:assert/strict";
import { StudyTurns } from "../../../src/probes/study-turns.ts";
import { Target } from "../../../src/probes/target.ts";
import { LOCAL } from "./local.ts";

const target = (node: string): Target =>
  new Target(LOCAL, { node, mac: "02:00:00:00:00:02", underlayIp: "192.0.2.2", podCidrs: ["10.0.2.0/24"] });

describe("turns for studies", () => {
  it("are given to one at a time, and next to the one that has waited longest", () => {
    const [a, b, c, d] = ["a", "b", "c", "d"].map(target) as [Target, Target, Target, Target];
    const looked: Target[] = [];
    const turns = new StudyTurns((next) => looked.push(next));
    const over = turns.take(a);
    assert.ok(over);
    for (const one of [b, c, d, b, a]) assert.equal(turns.take(one), undefined);
    over();
    assert.deepEqual(looked, [b]);
    const next = turns.take(b);
    assert.ok(next);
    turns.forget(c);
    next();
    assert.deepEqual(looked, [b, d], "c is gone");
    turns.take(d)?.();
    assert.deepEqual(looked, [b, d, a]);
    turns.take(a)?.();
    assert.deepEqual(looked, [b, d, a], "nobody waits any more");
  });
});
