/**
 * The matrix as pixels: a row a node that has measured, a column a node that was measured. Where there are more nodes than pixels, a pixel shows the worst of
 * its pairs, so that one fault among a million pairs is seen.
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

/** A pair with a fault: places of the two nodes in the order that was painted. */
export interface Fault {
  from: number;
  to: number;
  state: PairState;
}

export interface Painted {
  /** Pixels in a row, and rows. */
  size: number;
  /** Colours, as the caller has given them by state. */
  pixels: Uint32Array<ArrayBuffer>;
  /** The first faults, row by row. */
  faults: Fault[];
  /** How many there are. */
  faulty: number;
}

/**
 * @param slots slots of the nodes in the order in which they are shown. @param rows by slot, two bytes a slot
 * @param colours by the state's number; the one behind the last is a node's own pair. @param most pixels in a row
 */
export function paint(
  slots: readonly number[],
  rows: ReadonlyMap<number, Uint8Array>,
  colours: Uint32Array,
  most: number,
): Painted {
  const count = slots.length;
  const size = Math.max(1, Math.min(count, most));
  const worst = new Uint8Array(size * size);
  const place = Uint32Array.from({ length: count }, (_, i) => Math.floor((i * size) / count));
  const severity = Uint8Array.from(PAIR_STATES, (state) => SEVERITY[state]);
  const faults: Fault[] = [];
  let faulty = 0;
  for (let i = 0; i < count; i++) {
    const row = rows.get(slots[i] as number);
    if (!row) continue;
    const line = (place[i] as number) * size;
    for (let j = 0; j < count; j++) {
      const state = row[2 * (slots[j] as number)] ?? 0;
      const bad = severity[state] ?? 0;
      if (bad > 1 && faulty++ < MOST_FAULTS) faults.push({ from: i, to: j, state: PAIR_STATES[state] as PairState });
      const at = line + (place[j] as number);
      if (bad > (worst[at] as number)) worst[at] = bad;
    }
  }
  const bySeverity = new Uint32Array(PAIR_STATES.length);
  for (const [state, bad] of severity.entries()) bySeverity[bad] = colours[state] as number;
  const pixels = new Uint32Array(worst.length);
  // A million of them: `from` with a function takes ten times as long.
  for (let i = 0; i < worst.length; i++) pixels[i] = bySeverity[worst[i] as number] as number;
  // A node's own pair is nothing to be measured; where pixels stand for several it would hide others.
  if (size === count) for (let i = 0; i < count; i++) pixels[i * size + i] = colours[PAIR_STATES.length] as number;
  return { size, pixels, faults, faulty };
}
