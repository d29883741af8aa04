/**
 * Protocols and ports as one line of whole numbers, so that "which rule decides where" is painting a line: TCP's ports, then UDP's, SCTP's, and
 * one point for all protocols without ports.
 */
import { PROTOCOLS, type Protocol } from "../semantics/types.ts";

const PORTS = 65_536;

/** The point of protocols without ports, and the end of the line. */
export const OTHER = PROTOCOLS.length * PORTS;

/** A stretch of the line, both ends included. */
export interface Stretch {
  from: number;
  to: number;
}

export const WHOLE_LINE: Stretch = { from: 0, to: OTHER };

/** Where a port of a protocol is. */
export const pointOf = (protocol: Protocol | "other", port: number): number =>
  protocol === "other" ? OTHER : PROTOCOLS.indexOf(protocol) * PORTS + port;

export const stretchOf = (protocol: Protocol, first: number, last: number): Stretch => ({
  from: pointOf(protocol, first),
  to: pointOf(protocol, last),
});

/** A stretch within one protocol, as ports. */
export interface PortRange {
  protocol: Protocol;
  first: number;
  last: number;
}

/** A stretch cut at the ends of protocols; the point of other protocols is left out. */
export function portRanges({ from, to }: Stretch): PortRange[] {
  return PROTOCOLS.flatMap((protocol, i) => {
    const [first, last] = [Math.max(from - i * PORTS, 0), Math.min(to - i * PORTS, PORTS - 1)];
    return first <= last ? [{ protocol, first, last }] : [];
  });
}

/** A stretch of the line with what was painted on it. */
export interface Painted<T> extends Stretch {
  value: T;
}

/**
 * A line that is painted once at each place: what comes first stays. The work is that of looking at each boundary a few times, however
 * many coats there are.
 */
export class Line<T> {
  readonly #starts: number[];
  readonly #values: (T | undefined)[];
  /** Of each piece the next one that is not painted, itself included; paths are shortened as they are walked. */
  readonly #next: number[];

  /** @param stretches all that will be painted */
  constructor(stretches: Iterable<Stretch>) {
    const starts = new Set([0, OTHER]);
    for (const { from, to } of stretches) {
      starts.add(from);
      if (to < OTHER) starts.add(to + 1);
    }
    this.#starts = [...starts].sort((a, b) => a - b);
    this.#values = this.#starts.map(() => undefined);
    this.#next = this.#starts.map((_, i) => i);
    this.#next.push(this.#starts.length);
  }

  /** Paints what is not painted yet. */
  paint({ from, to }: Stretch, value: T): void {
    for (let at = this.#free(this.#pieceOf(from)); at < this.#starts.length; at = this.#free(at)) {
      if ((this.#starts[at] as number) > to) return;
      this.#values[at] = value;
      this.#next[at] = at + 1;
    }
  }

  /** Takes the paint that a test finds off, so that it can be painted again. */
  clear(test: (value: T) => boolean): void {
    this.#values.forEach((value, at) => {
      if (value !== undefined && test(value)) this.#values[at] = undefined;
    });
    for (let at = this.#starts.length - 1; at >= 0; at--)
      this.#next[at] = this.#values[at] === undefined ? at : (this.#next[at + 1] as number);
  }

  /** The whole line; pieces of one value that touch are one. Everything must have been painted. */
  painted(): Painted<T>[] {
    const done: Painted<T>[] = [];
    this.#starts.forEach((from, at) => {
      const value = this.#values[at] as T;
      const to = (this.#starts[at + 1] ?? OTHER + 1) - 1;
      const last = done.at(-1);
      if (last && last.value === value) last.to = to;
      else done.push({ from, to, value });
    });
    return done;
  }

  #pieceOf(point: number): number {
    let [low, high] = [0, this.#starts.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((this.#starts[middle] as number) <= point) low = middle;
      else high = middle - 1;
    }
    return low;
  }

  #free(at: number): number {
    let root = at;
    while (this.#next[root] !== root && root < this.#starts.length) root = this.#next[root] as number;
    for (let walk = at; walk < root; ) {
      const next = this.#next[walk] as number;
      this.#next[walk] = root;
      walk = next;
    }
    return root;
  }
}
