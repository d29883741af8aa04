/**
 * The matrix as pixels: a row a node that has measured, a column a node that was measured. It is painted once, a pixel a pair, and again only where something
 * has changed; whoever shows it enlarges or moves what is painted. Beside it are smaller ones, each of half the size of the one before, in which a pixel shows
 * the worst of four: where there are more nodes than pixels on the screen, one fault among a million pairs is seen.
 */
import { PAIR_STATES, type PairState } from "../wire.ts";

/** How bad a state is; the worst is the largest. */
export const SEVERITY: Readonly<Record<PairState, number>> = {
  unknown: 0,
  answers: 1,
  loss: 2,
  fragments: 3,
  narrow: 4,
  family6: 5,
  family4: 6,
  tunnel: 7,
  silent: 8,
  down: 9,
};

/** Faults that are listed at most. */
const MOST_FAULTS = 2_000;

const severity = Uint8Array.from(PAIR_STATES, (state) => SEVERITY[state]);
const bySeverity = PAIR_STATES.toSorted((a, b) => SEVERITY[a] - SEVERITY[b]);

/** A pair with a fault: places of the two nodes in the order that was painted. */
export interface Fault {
  from: number;
  to: number;
  state: PairState;
}

/** Where pixels are shown from. */
export interface Surface {
  /** Rows from the first to before the second one are otherwise now. */
  put(first: number, end: number): void;
}

/** One of the pictures. */
export interface Level<S extends Surface> {
  /** Pixels in a row, and rows. */
  size: number;
  surface: S;
}

interface Painted<S extends Surface> extends Level<S> {
  /** How bad each is. */
  worst: Uint8Array;
  pixels: Uint32Array<ArrayBuffer>;
}

/** See the header. */
export class PairImage<S extends Surface> {
  readonly #surface: (size: number, pixels: Uint32Array<ArrayBuffer>) => S;
  #levels: Painted<S>[] = [];
  #slots: readonly number[] = [];
  #colours = new Uint32Array(0);
  /** The same, but for a node's own pair, by how bad. */
  #palette = new Uint32Array(0);
  /** By place, as they were painted. */
  #rows: (Uint8Array | undefined)[] = [];
  /** How many faults each row has. */
  #faulty = new Uint32Array(0);
  #faults: readonly Fault[] | undefined;
  #cells = 0;

  /** @param surface makes what shows these pixels, which change under it */
  constructor(surface: (size: number, pixels: Uint32Array<ArrayBuffer>) => S) {
    this.#surface = surface;
  }

  /** Cells that were painted since it was made. */
  get cells(): number {
    return this.#cells;
  }

  /** How many pairs have a fault. */
  get faulty(): number {
    return this.#faulty.reduce((sum, one) => sum + one, 0);
  }

  /** The first of them, row by row. */
  get faults(): readonly Fault[] {
    return (this.#faults ??= this.#listFaults());
  }

  /** The picture for a place where `pixels` are for each cell: of the largest in which none is smaller than a pixel there. */
  level(pixels: number): Level<S> & { perPixel: number } {
    let at = 0;
    while (at + 1 < this.#levels.length && pixels * 2 ** at < 1) at++;
    return { ...(this.#levels[at] as Painted<S>), perPixel: 2 ** at };
  }

  /**
   * Paints what is otherwise than before.
   * @param slots slots of the nodes in the order in which they are shown, one at least. @param rows by slot, two bytes a slot
   * @param colours by the state's number; the one behind the last is a node's own pair
   */
  update(slots: readonly number[], rows: ReadonlyMap<number, Uint8Array>, colours: Uint32Array): void {
    const same = (a: ArrayLike<number>, b: ArrayLike<number>): boolean =>
      a.length === b.length && Array.prototype.every.call(a, (one, i) => one === b[i]);
    if (!same(slots, this.#slots) || !same(colours, this.#colours)) return this.#paintAll(slots, rows, colours);
    const changed: number[] = [];
    for (let i = 0; i < slots.length; i++) {
      const row = rows.get(slots[i] as number);
      if (row === this.#rows[i]) continue;
      this.#rows[i] = row;
      if (this.#paintRow(i, row)) changed.push(i);
    }
    if (changed.length === 0) return;
    this.#faults = undefined;
    for (const [k, { surface, size }] of this.#levels.entries()) {
      const lines = [...new Set(changed.map((i) => i >> k))];
      if (k > 0) for (const line of lines) this.#pool(k, line);
      // Of many lines each one put by itself takes longer than all together.
      if (lines.length > size / 4) surface.put(0, size);
      else for (const line of lines) surface.put(line, line + 1);
    }
  }

  #paintAll(slots: readonly number[], rows: ReadonlyMap<number, Uint8Array>, colours: Uint32Array): void {
    [this.#slots, this.#colours] = [slots.slice(), colours.slice()];
    this.#palette = Uint32Array.from(bySeverity, (state) => colours[PAIR_STATES.indexOf(state)] as number);
    const count = slots.length;
    if (this.#levels[0]?.size !== count) {
      this.#levels = [];
      for (let size = count; ; size = Math.ceil(size / 2)) {
        const [worst, pixels] = [new Uint8Array(size * size), new Uint32Array(size * size)];
        this.#levels.push({ size, worst, pixels, surface: this.#surface(size, pixels) });
        if (size <= 1) break;
      }
    }
    const own = colours[PAIR_STATES.length] as number;
    const { worst, pixels } = this.#levels[0] as Painted<S>;
    worst.fill(0);
    pixels.fill(this.#palette[0] as number);
    for (let i = 0; i < count; i++) pixels[i * count + i] = own;
    this.#faulty = new Uint32Array(count);
    this.#rows = slots.map((slot) => rows.get(slot));
    const before = this.#cells;
    for (const [i, row] of this.#rows.entries()) if (row) this.#paintRow(i, row);
    this.#cells = before + count * count;
    this.#faults = undefined;
    for (const [k, { size, surface }] of this.#levels.entries()) {
      if (k > 0) for (let line = 0; line < size; line++) this.#pool(k, line);
      surface.put(0, size);
    }
  }

  /** @returns whether a cell is otherwise */
  #paintRow(i: number, row: Uint8Array | undefined): boolean {
    const [slots, palette] = [this.#slots, this.#palette];
    const { size, worst, pixels } = this.#levels[0] as Painted<S>;
    const line = i * size;
    let [faulty, changed] = [0, 0];
    for (let j = 0; j < size; j++) {
      const bad = row ? (severity[row[2 * (slots[j] as number)] ?? 0] ?? 0) : 0;
      if (bad > 1) faulty++;
      if (bad === worst[line + j]) continue;
      worst[line + j] = bad;
      changed++;
      // A node's own pair is nothing to be measured.
      if (i !== j) pixels[line + j] = palette[bad] as number;
    }
    this.#faulty[i] = faulty;
    this.#cells += changed;
    return changed > 0;
  }

  /** A line of a smaller picture, from the next larger one. */
  #pool(k: number, line: number): void {
    const palette = this.#palette;
    const { size, worst, pixels } = this.#levels[k] as Painted<S>;
    const { size: larger, worst: from } = this.#levels[k - 1] as Painted<S>;
    const [upper, lower] = [2 * line * larger, Math.min(2 * line + 1, larger - 1) * larger];
    for (let j = 0; j < size; j++) {
      const [left, right] = [2 * j, Math.min(2 * j + 1, larger - 1)];
      const bad = Math.max(
        from[upper + left] as number,
        from[upper + right] as number,
        from[lower + left] as number,
        from[lower + right] as number,
      );
      worst[line * size + j] = bad;
      pixels[line * size + j] = palette[bad] as number;
    }
  }

  #listFaults(): Fault[] {
    const faults: Fault[] = [];
    const [{ size, worst } = { size: 0, worst: new Uint8Array(0) }] = this.#levels;
    for (let from = 0; from < size && faults.length < MOST_FAULTS; from++) {
      if (this.#faulty[from] === 0) continue;
      for (let to = 0; to < size && faults.length < MOST_FAULTS; to++) {
        const bad = worst[from * size + to] as number;
        if (bad > 1) faults.push({ from, to, state: bySeverity[bad] as PairState });
      }
    }
    return faults;
  }
}
