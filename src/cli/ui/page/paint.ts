/**
 * The matrix as pixels: a row a node that has measured, a column a node that was measured. It is painted once, a pixel a pair, and again only where something
 * has changed; whoever shows it enlarges or moves what is painted. Beside it are smaller ones, each of half the size of the one before, in which a pixel shows
 * the worst of four: where there are more nodes than pixels on the screen, one fault among a million pairs is seen.
 *
 * A million pairs at once take longer than a frame may: {@link PairImage.update} notes which rows are otherwise, and {@link PairImage.paint} paints some of
 * them, as much as a frame has room for. What changes meanwhile is noted like everything else; a row that changes again before its turn is painted once.
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
/** Cells that are looked at in one call at most, but for the rest of a row. */
export const MOST_CELLS = 100_000;

/** Where the faults of a row are, while it is painted. */
const places = new Uint16Array(MOST_FAULTS);

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
  /** By place, as they are to be painted. */
  #rows: (Uint8Array | undefined)[] = [];
  /** Places of rows that are not painted as they should be. */
  readonly #left = new Set<number>();
  /** Whether a row has nothing of these nodes and colours yet, by place. */
  #blank = new Uint8Array(0);
  /** How many faults each row has, and the first of them. */
  #faulty = new Uint32Array(0);
  #found: (Uint16Array | undefined)[] = [];
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

  /** Rows that are not painted yet. */
  get left(): number {
    return this.#left.size;
  }

  /** How many pairs have a fault, of those that are painted. */
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
   * Notes what is otherwise than before.
   * @param slots slots of the nodes in the order in which they are shown, one at least. @param rows by slot, two bytes a slot; one that changes is another array
   * @param colours by the state's number; the one behind the last is a node's own pair
   */
  update(slots: readonly number[], rows: ReadonlyMap<number, Uint8Array>, colours: Uint32Array): void {
    const same = (a: ArrayLike<number>, b: ArrayLike<number>): boolean =>
      a.length === b.length && Array.prototype.every.call(a, (one, i) => one === b[i]);
    const anew = !same(slots, this.#slots) || !same(colours, this.#colours);
    if (anew) this.#begin(slots, colours);
    for (let i = 0; i < slots.length; i++) {
      const row = rows.get(slots[i] as number);
      if (!anew && row === this.#rows[i]) continue;
      this.#rows[i] = row;
      this.#left.add(i);
    }
  }

  /**
   * Paints of what is left as much as there is time for, a row at least and {@link MOST_CELLS} at most.
   * @param enough asked after each row
   */
  paint(enough: () => boolean = () => false): void {
    const changed: number[] = [];
    let looked = 0;
    for (const i of this.#left) {
      this.#left.delete(i);
      if (this.#paintRow(i)) changed.push(i);
      looked += this.#slots.length;
      if (looked >= MOST_CELLS || enough()) break;
    }
    if (changed.length === 0) return;
    this.#faults = undefined;
    changed.sort((a, b) => a - b);
    for (const [k, { surface, size }] of this.#levels.entries()) {
      const lines = [...new Set(changed.map((i) => i >> k))];
      if (k > 0) for (const line of lines) this.#pool(k, line);
      const ranges = rangesOf(lines);
      // Of many each one put by itself takes longer than all together.
      if (ranges.length > size / 4) surface.put(0, size);
      else for (const [first, end] of ranges) surface.put(first, end);
    }
  }

  /** What is shown stays until its turn comes where it has the same size; else there is nothing, which is transparent. */
  #begin(slots: readonly number[], colours: Uint32Array): void {
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
    this.#left.clear();
    this.#rows = [];
    this.#blank = new Uint8Array(count).fill(1);
    this.#faulty = new Uint32Array(count);
    this.#found = [];
    this.#faults = undefined;
  }

  /** @returns whether a cell is otherwise */
  #paintRow(i: number): boolean {
    const [slots, palette, row, blank] = [this.#slots, this.#palette, this.#rows[i], this.#blank[i] === 1];
    const { size, worst, pixels } = this.#levels[0] as Painted<S>;
    const line = i * size;
    let [faulty, changed] = [0, 0];
    for (let j = 0; j < size; j++) {
      const bad = row ? (severity[row[2 * (slots[j] as number)] ?? 0] ?? 0) : 0;
      if (bad > 1 && faulty++ < MOST_FAULTS) places[faulty - 1] = j;
      if (!blank && bad === worst[line + j]) continue;
      worst[line + j] = bad;
      changed++;
      // A node's own pair is nothing to be measured.
      if (i !== j) pixels[line + j] = palette[bad] as number;
      else if (blank) pixels[line + j] = this.#colours[PAIR_STATES.length] as number;
    }
    this.#blank[i] = 0;
    this.#faulty[i] = faulty;
    this.#found[i] = faulty === 0 ? undefined : places.slice(0, Math.min(faulty, MOST_FAULTS));
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
    for (let from = 0; from < size && faults.length < MOST_FAULTS; from++)
      for (const to of this.#found[from] ?? []) {
        if (faults.length === MOST_FAULTS) break;
        faults.push({ from, to, state: bySeverity[worst[from * size + to] as number] as PairState });
      }
    return faults;
  }
}

/** Numbers that follow each other, by the first and the one behind the last. @param lines in order */
function rangesOf(lines: readonly number[]): [first: number, end: number][] {
  const ranges: [number, number][] = [];
  for (const line of lines) {
    const last = ranges.at(-1);
    if (last?.[1] === line) last[1]++;
    else ranges.push([line, line + 1]);
  }
  return ranges;
}
