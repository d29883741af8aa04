/** The matrix as pixels. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { MOST_CELLS, PairImage, SEVERITY } from "../../../src/cli/ui/page/paint.ts";
import { PAIR_STATES, type PairState } from "../../../src/cli/ui/wire.ts";

/** A colour is its state's number, and 99 a node's own pair. */
const COLOURS = Uint32Array.from([...PAIR_STATES.keys(), 99]);
const number = (state: PairState): number => PAIR_STATES.indexOf(state);

type Odd = readonly [from: number, to: number, state: PairState];

/** Rows of so many nodes that all answer, but for some pairs. */
function rows(count: number, odd: readonly Odd[]) {
  const all = new Map<number, Uint8Array>();
  for (let from = 0; from < count; from++) {
    const row = new Uint8Array(2 * count);
    for (let to = 0; to < count; to++) if (to !== from) row[2 * to] = number("answers");
    all.set(from, row);
  }
  for (const [from, to, state] of odd) (all.get(from) as Uint8Array)[2 * to] = number(state);
  return all;
}

/** What is shown of pixels: those that were put. */
class Shown {
  readonly size: number;
  readonly seen: Uint32Array;
  readonly #pixels: Uint32Array;
  puts = 0;

  constructor(size: number, pixels: Uint32Array) {
    this.size = size;
    this.#pixels = pixels;
    this.seen = new Uint32Array(pixels.length);
  }

  put(first: number, end: number): void {
    this.puts++;
    this.seen.set(this.#pixels.subarray(first * this.size, end * this.size), first * this.size);
  }
}

/** One that paints at once what it is told. */
class Whole extends PairImage<Shown> {
  override update(...told: Parameters<PairImage<Shown>["update"]>): void {
    super.update(...told);
    while (this.left > 0) this.paint();
  }
}

const image = (): Whole => new Whole((size, pixels) => new Shown(size, pixels));
const slotsOf = (count: number): number[] => Array.from({ length: count }, (_, i) => i);

describe("the matrix of the live map", () => {
  it("has a pixel a pair, in the order of the nodes, where there is room", () => {
    const painted = image();
    painted.update([2, 0, 1], rows(3, [[2, 0, "down"]]), COLOURS);
    const { size, surface } = painted.level(1);
    assert.equal(size, 3);
    const [ok, down] = [number("answers"), number("down")];
    assert.deepEqual([...surface.seen], [99, down, ok, ok, 99, ok, ok, ok, 99]);
    assert.deepEqual(painted.faults, [{ from: 0, to: 1, state: "down" }]);
    assert.equal(painted.faulty, 1);
  });

  it("shows the worst of many pairs in a pixel, so that no fault is lost", () => {
    const painted = image();
    const faults: Odd[] = [
      [999, 500, "loss"],
      [998, 501, "tunnel"],
    ];
    painted.update(slotsOf(1_000), rows(1_000, faults), COLOURS);
    const { size, surface, perPixel } = painted.level(0.1);
    assert.deepEqual([size, perPixel], [63, 16]);
    assert.equal(surface.seen[62 * 63 + 31], number("tunnel"));
    assert.equal(surface.seen.filter((one) => one === number("tunnel")).length, 1);
    assert.equal(surface.seen.filter((one) => one === number("loss")).length, 0);
    assert.equal(painted.faulty, 2);
  });

  it("has nothing of nodes that have measured nothing", () => {
    const painted = image();
    painted.update([0, 7], new Map([[0, Uint8Array.from([0, 0])]]), COLOURS);
    assert.deepEqual([...painted.level(1).surface.seen], [99, 0, 0, 99]);
  });

  it("paints again what has changed and nothing else", () => {
    const painted = image();
    const slots = slotsOf(100);
    const all = rows(100, []);
    painted.update(slots, all, COLOURS);
    assert.equal(painted.cells, 10_000);
    const { surface } = painted.level(1);
    const puts = surface.puts;
    painted.update(slots, all, COLOURS);
    assert.deepEqual([painted.cells, surface.puts], [10_000, puts]);
    // Another row that says the same, and one in which two cells are otherwise.
    all.set(5, (all.get(5) as Uint8Array).slice());
    all.set(
      6,
      rows(100, [
        [6, 1, "down"],
        [6, 2, "loss"],
      ]).get(6) as Uint8Array,
    );
    painted.update(slots, all, COLOURS);
    assert.deepEqual([painted.cells, surface.puts, painted.faulty], [10_002, puts + 1, 2]);
    assert.deepEqual(
      painted.faults.map(({ from, to }) => [from, to]),
      [
        [6, 1],
        [6, 2],
      ],
    );
    all.delete(6);
    painted.update(slots, all, COLOURS);
    assert.deepEqual([painted.cells, painted.faulty], [10_101, 0]);
  });

  it("is painted in parts, each of bounded work, and shows what is painted", () => {
    const painted = new PairImage((size, pixels) => new Shown(size, pixels));
    painted.update(slotsOf(1_000), rows(1_000, [[999, 0, "down"]]), COLOURS);
    const { surface } = painted.level(1);
    assert.deepEqual([painted.left, painted.cells, surface.puts], [1_000, 0, 0]);
    let parts = 0;
    for (let before = 0; painted.left > 0; before = painted.cells, parts++) {
      painted.paint();
      assert.ok(painted.cells > before && painted.cells - before <= MOST_CELLS + 1_000);
      assert.equal(surface.seen.filter((one) => one !== 0).length, painted.cells);
      assert.equal(surface.puts, parts + 1);
    }
    assert.ok(parts >= 1_000_000 / MOST_CELLS);
    assert.deepEqual([painted.cells, painted.faulty], [1_000_000, 1]);
  });

  it("paints no more than there is time for, and one row at least", () => {
    const painted = new PairImage((size, pixels) => new Shown(size, pixels));
    painted.update(slotsOf(100), rows(100, []), COLOURS);
    painted.paint(() => true);
    assert.deepEqual([painted.left, painted.cells], [99, 100]);
    let asked = 0;
    painted.paint(() => ++asked === 10);
    assert.deepEqual([painted.left, painted.cells], [89, 1_100]);
  });

  it("loses nothing of what changes while it is painted, and paints it once", () => {
    const painted = new PairImage((size, pixels) => new Shown(size, pixels));
    const [slots, all] = [slotsOf(100), rows(100, [])];
    painted.update(slots, all, COLOURS);
    for (let n = 0; n < 50; n++) painted.paint(() => true);
    // One that is painted, one whose turn comes, and one that changes twice.
    const change = (from: number, state: PairState): void => {
      all.set(from, rows(100, [[from, 1, state]]).get(from) as Uint8Array);
      painted.update(slots, all, COLOURS);
    };
    change(10, "down");
    change(80, "loss");
    change(90, "down");
    change(90, "tunnel");
    while (painted.left > 0) painted.paint(() => true);
    assert.equal(painted.cells, 10_001);
    assert.deepEqual(
      painted.faults.map(({ from, state }) => [from, state]),
      [
        [10, "down"],
        [80, "loss"],
        [90, "tunnel"],
      ],
    );
    // Another order meanwhile: whatever was left of the one before is nothing any more.
    painted.update(slots.toReversed(), all, COLOURS);
    painted.paint(() => true);
    painted.update(slotsOf(3), all, COLOURS);
    assert.equal(painted.left, 3);
    painted.paint();
    const [ok] = [number("answers")];
    assert.deepEqual([...painted.level(1).surface.seen], [99, ok, ok, ok, 99, ok, ok, ok, 99]);
  });

  it("shows after any changes what it would show had it been painted then", () => {
    const step = fc.record({
      from: fc.nat(12),
      to: fc.nat(12),
      state: fc.constantFrom(...PAIR_STATES),
      count: fc.integer({ min: 1, max: 13 }),
      dark: fc.boolean(),
      parts: fc.nat(14),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 12 }), (steps) => {
        const painted = image();
        const interrupted = new PairImage((size, pixels) => new Shown(size, pixels));
        const all = rows(13, []);
        for (const { from, to, state, count, dark, parts } of steps) {
          const row = (all.get(from) as Uint8Array).slice();
          row[2 * to] = number(state);
          all.set(from, row);
          const colours = dark ? COLOURS.map((one) => one + 100) : COLOURS;
          painted.update(slotsOf(count), all, colours);
          interrupted.update(slotsOf(count), all, colours);
          for (let n = 0; n < parts; n++) interrupted.paint(() => true);
          const anew = image();
          anew.update(slotsOf(count), all, colours);
          for (const pixels of [1, 0.5, 0.25, 0.1]) {
            const [a, b] = [painted.level(pixels), anew.level(pixels)];
            assert.deepEqual([...a.surface.seen], [...b.surface.seen]);
            // Each pixel is as bad as the worst of its pairs.
            for (let i = 0; i < a.size; i++)
              for (let j = 0; j < a.size; j++) {
                let worst: PairState = "unknown";
                for (let x = i * a.perPixel; x < Math.min(count, (i + 1) * a.perPixel); x++)
                  for (let y = j * a.perPixel; y < Math.min(count, (j + 1) * a.perPixel); y++) {
                    const one = PAIR_STATES[(all.get(x) as Uint8Array)[2 * y] as number] as PairState;
                    if (SEVERITY[one] > SEVERITY[worst]) worst = one;
                  }
                const own = a.perPixel === 1 && i === j ? colours[PAIR_STATES.length] : colours[number(worst)];
                assert.equal(a.surface.seen[i * a.size + j], own);
              }
          }
          assert.deepEqual([painted.faulty, painted.faults], [anew.faulty, anew.faults]);
          if (interrupted.left > 0) continue;
          for (const pixels of [1, 0.5, 0.25, 0.1])
            assert.deepEqual([...interrupted.level(pixels).surface.seen], [...anew.level(pixels).surface.seen]);
          assert.deepEqual(interrupted.faults, anew.faults);
        }
      }),
    );
  });
});
