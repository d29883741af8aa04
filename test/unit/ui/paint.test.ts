/** The matrix as pixels. */
import assert from "node:assert/strict";
import { paint } from "../../../src/cli/ui/page/paint.ts";
import { PAIR_STATES, type PairState } from "../../../src/cli/ui/wire.ts";

/** A colour is its state's number, and 99 a node's own pair. */
const COLOURS = Uint32Array.from([...PAIR_STATES.keys(), 99]);
const number = (state: PairState): number => PAIR_STATES.indexOf(state);

/** Rows of so many nodes that all answer, but for some pairs. */
function rows(count: number, odd: readonly (readonly [from: number, to: number, state: PairState])[]) {
  const all = new Map<number, Uint8Array>();
  for (let from = 0; from < count; from++) {
    const row = new Uint8Array(2 * count);
    for (let to = 0; to < count; to++) if (to !== from) row[2 * to] = number("answers");
    all.set(from, row);
  }
  for (const [from, to, state] of odd) (all.get(from) as Uint8Array)[2 * to] = number(state);
  return all;
}

describe("the matrix of the live map", () => {
  it("has a pixel a pair, in the order of the nodes, where there is room", () => {
    const { size, pixels, faults, faulty } = paint([2, 0, 1], rows(3, [[2, 0, "down"]]), COLOURS, 100);
    assert.equal(size, 3);
    const [ok, down] = [number("answers"), number("down")];
    assert.deepEqual([...pixels], [99, down, ok, ok, 99, ok, ok, ok, 99]);
    assert.deepEqual(faults, [{ from: 0, to: 1, state: "down" }]);
    assert.equal(faulty, 1);
  });

  it("shows the worst of many pairs in a pixel, so that no fault is lost", () => {
    const slots = Array.from({ length: 1_000 }, (_, i) => i);
    const { size, pixels, faulty } = paint(
      slots,
      rows(1_000, [
        [999, 500, "loss"],
        [998, 501, "tunnel"],
      ]),
      COLOURS,
      100,
    );
    assert.equal(size, 100);
    assert.equal(pixels[99 * 100 + 50], number("tunnel"));
    assert.equal(pixels.filter((one) => one !== number("answers")).length, 1);
    assert.equal(faulty, 2);
  });

  it("has nothing of nodes that have measured nothing", () => {
    const { pixels } = paint([0, 7], new Map([[0, Uint8Array.from([0, 0])]]), COLOURS, 100);
    assert.deepEqual([...pixels], [99, 0, 0, 99]);
  });
});
