import assert from "node:assert/strict";
import { Rounds } from "../../../src/instances/rounds.ts";

describe("looking after a node's networks", () => {
  const said: string[] = [];
  const say = (message: string): void => void said.push(message);
  const log = { info: say, warn: say };
  const members = (count: number, maintain: (n: number) => Promise<void>) =>
    new Map(Array.from({ length: count }, (_, n) => [`net-${n}`, { maintain: () => maintain(n) }] as const));

  it("gives all of a few their turn in each round", async () => {
    const done: number[] = [];
    const all = members(3, async (n) => void done.push(n));
    const rounds = new Rounds(log);
    await rounds.go(all);
    await rounds.go(all);
    assert.deepEqual(done, [0, 1, 2, 0, 1, 2]);
  });

  it("gives each of hundreds one turn in six rounds, also where some come and go", async () => {
    const done = new Map<number, number>();
    const all: Map<string, { maintain: () => Promise<void> }> = members(
      300,
      async (n) => void done.set(n, (done.get(n) ?? 0) + 1),
    );
    const rounds = new Rounds(log);
    await rounds.go(all);
    assert.equal(done.size, 50);
    all.delete("net-299");
    for (let round = 0; round < 5; round++) await rounds.go(all);
    assert.equal(done.size, 299);
    assert.deepEqual(new Set(done.values()), new Set([1]));
  });

  it("goes on with the others when one fails, and says so once", async () => {
    const done: number[] = [];
    let away = true;
    const all = members(2, async (n) => {
      if (n === 0 && away) throw new Error("the API server is away");
      done.push(n);
    });
    const rounds = new Rounds(log);
    for (let round = 0; round < 3; round++) await rounds.go(all);
    assert.deepEqual(done, [1, 1, 1]);
    assert.deepEqual(said, ["a pod network cannot be looked after; it is tried again in its turn"]);
    away = false;
    await rounds.go(all);
    assert.deepEqual(said.slice(1), ["a pod network can be looked after again"]);
  });
});
