/** What routes to a peer are to take, by what was found of the ways there. */
import assert from "node:assert/strict";
import { HOLD_MS, PathMtus } from "../../../src/probes/path-mtus.ts";
import { figuresOf, Target } from "../../../src/probes/target.ts";
import type { Peer } from "../../../src/peers/index.ts";
import type { Seen } from "../../../src/probes/judge.ts";
import { LOCAL } from "./local.ts";

const peer = (node: string, n: number, more: Partial<Peer> = {}) =>
  new Target(LOCAL, {
    node,
    mac: "02:00:00:00:00:02",
    underlayIp: `192.0.2.${n}`,
    podCidrs: [`10.0.${n}.0/24`, `fd00:${n}::/64`],
    ...more,
  });

describe("the MTU of routes to a peer", () => {
  let [mtus, told]: [PathMtus, string[]] = [new PathMtus(), []];
  let b = peer("b", 2);
  beforeEach(() => {
    [mtus, told, b] = [new PathMtus(), [], peer("b", 2)];
    mtus.follow((node) => told.push(node));
  });
  /** A look finds this of the tunnel in each family. */
  const found = (now: number, ...ways: [seen: Seen, passes?: number][]): void => {
    for (const [n, [seen, passes]] of ways.entries()) {
      const path = b.paths[n];
      assert.ok(path);
      path.become(seen);
      path.passes = passes;
    }
    mtus.looked(b, now);
  };

  it("is what passes, by family, as soon as that is found, and smaller at once", () => {
    found(0, ["narrow", 1400], ["answers"]);
    assert.deepEqual(mtus.of("b"), { 4: 1400 });
    found(1, ["narrow", 1340], ["narrow", 1344]);
    assert.deepEqual(mtus.of("b"), { 4: 1340, 6: 1344 });
    assert.deepEqual(
      figuresOf(b, mtus.of("b")).paths.map(({ routes }) => routes),
      [1340, 1344, undefined],
    );
    const changes = told.length;
    found(2, ["narrow", 1340], ["narrow", 1344]);
    assert.equal(told.length, changes, "nobody is told of what is as before");
    assert.deepEqual([...new Set(told)], ["b"]);
  });

  it("is another tunnel's as well, except in the family that goes without one", () => {
    found(0, ["narrow", 1400], ["narrow", 1344]);
    assert.deepEqual(mtus.inTunnel("b"), { 4: 1400, 6: 1344 });
    const direct = [{ gateway: "192.0.2.2", ifindex: 2 }];
    mtus.forget(b);
    assert.deepEqual([mtus.of("b"), mtus.inTunnel("b")], [undefined, undefined]);
    b = peer("b", 2, { direct });
    found(1, ["narrow", 1400], ["narrow", 1344]);
    assert.deepEqual([mtus.of("b"), mtus.inTunnel("b")], [{ 4: 1400, 6: 1344 }, { 6: 1344 }]);
    assert.equal(b.same(peer("b", 2)), false, "what was measured without is measured anew with it");
  });

  it("is never less than what every way takes, and no other peer's", () => {
    found(0, ["narrow", 68], ["narrow", 600]);
    assert.deepEqual(mtus.of("b"), { 4: 576, 6: 1280 });
    assert.equal(mtus.of("c"), undefined);
    found(1, ["narrow", 9_000], ["narrow", 9_000]);
    assert.deepEqual(mtus.of("b"), { 4: 576, 6: 1280 }, "nor more than the device's, and not at once");
    // Where not even the least passes there is nothing that would fit.
    b = peer("d", 4);
    found(0, ["narrow", undefined], ["silent"]);
    assert.equal(mtus.of("d"), undefined);
  });

  it("is larger again when more has passed for a while", () => {
    found(0, ["narrow", 1340], ["answers"]);
    found(10, ["answers"]);
    assert.deepEqual([...mtus.due(10 + HOLD_MS - 1)], []);
    assert.deepEqual(mtus.of("b"), { 4: 1340 });
    assert.deepEqual([...mtus.due(10 + HOLD_MS)], [b]);
    found(10 + HOLD_MS, ["answers"]);
    assert.equal(mtus.of("b"), undefined);
    assert.deepEqual([...mtus.due(1e9)], []);
    assert.deepEqual(told, ["b", "b"]);
  });

  it("stays where more passes for a moment only, and where nothing answers", () => {
    found(0, ["narrow", 1340], ["answers"]);
    found(10, ["answers"]);
    found(20, ["narrow", 1340]);
    found(30, ["answers"]);
    found(10 + HOLD_MS, ["answers"]);
    assert.deepEqual(mtus.of("b"), { 4: 1340 }, "the time begins anew");
    found(20 + HOLD_MS, ["silent"]);
    found(31 + HOLD_MS, ["silent"]);
    assert.deepEqual(mtus.of("b"), { 4: 1340 });
    // A part of what was missing is back.
    found(40 + HOLD_MS, ["narrow", 1400]);
    found(40 + 2 * HOLD_MS, ["narrow", 1400]);
    assert.deepEqual(mtus.of("b"), { 4: 1400 });
  });

  it("is the device's for a peer that has gone", () => {
    found(0, ["narrow", 1340], ["narrow", 1340]);
    found(1, ["answers"], ["answers"]);
    mtus.forget(b);
    assert.equal(mtus.of("b"), undefined);
    assert.deepEqual([...mtus.due(1e9)], []);
    assert.equal(told.length, 3);
  });
});
