/**
 * The matrix of what each node has measured of each other, two bytes a pair: 8 MB at 2,000 nodes. Nodes have slots, which stay theirs as long as they
 * are there, so that a node that comes or goes moves nobody else's cells.
 */
import { type MapRow, PAIR_STATES, type PairState, roundTripByte } from "../wire.ts";

/** A round trip that differs by less is as good as the same: 19 %. */
const SAME_STEPS = 2;

/** What a node has found of another one. */
export interface Measured {
  node: string;
  state: PairState;
  rttMs?: number | undefined;
}

export class Pairs {
  readonly #slots = new Map<string, number>();
  /** Slots that were somebody's. */
  readonly #free: number[] = [];
  readonly #rows = new Map<number, Uint8Array>();
  readonly #touched = new Set<number>();

  /** The slot of a node, which has one from now on. */
  slotOf(node: string): number {
    const known = this.#slots.get(node);
    if (known !== undefined) return known;
    // Those that are given are as many as the map's entries; together with the free ones they have no gap.
    const slot = this.#free.pop() ?? this.#slots.size;
    this.#slots.set(node, slot);
    return slot;
  }

  /** A node is gone, and with it what it and the others have measured of each other. */
  forget(node: string): void {
    const slot = this.#slots.get(node);
    if (slot === undefined) return;
    this.#slots.delete(node);
    this.#free.push(slot);
    if (this.#rows.delete(slot)) this.#touched.add(slot);
    for (const [from, row] of this.#rows) if (write(row, slot, 0, 0)) this.#touched.add(from);
  }

  /** Takes in all that a node has measured; of those that it does not name, or that nobody knows, nothing is known. @returns whether that is a change */
  measured(node: string, found: readonly Measured[]): boolean {
    const from = this.slotOf(node);
    const length = 2 * (this.#slots.size + this.#free.length);
    const before = this.#rows.get(from) ?? new Uint8Array(0);
    const row = new Uint8Array(length);
    for (const { node: other, state, rttMs } of found) {
      const to = this.#slots.get(other);
      if (to === undefined || to === from) continue;
      const byte = roundTripByte(rttMs);
      const old = before[2 * to + 1] ?? 0;
      write(row, to, PAIR_STATES.indexOf(state), old > 0 && Math.abs(old - byte) < SAME_STEPS ? old : byte);
    }
    if (Buffer.compare(row, padded(before, length)) === 0) return false;
    this.#rows.set(from, row);
    this.#touched.add(from);
    return true;
  }

  /** Nothing that a node has measured holds any more. @returns whether that is a change */
  unknown(node: string): boolean {
    const slot = this.#slots.get(node);
    if (slot === undefined || !this.#rows.delete(slot)) return false;
    this.#touched.add(slot);
    return true;
  }

  /** All rows. */
  rows(): MapRow[] {
    return [...this.#rows.keys()].map((slot) => this.#row(slot));
  }

  /** Those that have changed since the last call. */
  take(): MapRow[] {
    const rows = [...this.#touched].map((slot) => this.#row(slot));
    this.#touched.clear();
    return rows;
  }

  #row(slot: number): MapRow {
    return { slot, cells: Buffer.from(this.#rows.get(slot) ?? []).toString("base64") };
  }
}

/** @returns whether the cell was another one */
function write(row: Uint8Array, slot: number, state: number, rtt: number): boolean {
  const at = 2 * slot;
  if (at >= row.length || (row[at] === state && row[at + 1] === rtt)) return false;
  row[at] = state;
  row[at + 1] = rtt;
  return true;
}

function padded(row: Uint8Array, length: number): Uint8Array {
  if (row.length === length) return row;
  const longer = new Uint8Array(length);
  longer.set(row.subarray(0, length));
  return longer;
}
