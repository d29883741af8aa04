/** One line of the result: a measure of ours, what it is held against, and the target. */
import { ratios, type Spread, spread } from "./stats.ts";

export type Unit = "ms" | "s" | "MB" | "KB" | "s/GB" | "%" | "Gbit/s" | "Mbit/s" | "1/s";

/** What a target speaks about: the ratio to the other one, or the value itself. */
export interface Target {
  of: "ratio" | "value";
  atMost?: number;
  atLeast?: number;
}

export interface Row {
  group: string;
  measure: string;
  unit: Unit;
  ours: Spread;
  /** What stands beside it, and how it did in this run. */
  peer?: { name: string; value: Spread };
  /** Ours / theirs. */
  ratio?: Spread;
  target?: Target;
  /** What a reader must know to read the number. */
  note?: string;
}

/** A row without its numbers. */
export type RowHead = Omit<Row, "ours" | "peer" | "ratio">;

/** A row of two series that were measured in turns. */
export const compared = (head: RowHead, ours: readonly number[], peer: string, theirs: readonly number[]): Row => ({
  ...head,
  ours: spread(ours),
  peer: { name: peer, value: spread(theirs) },
  ratio: spread(ratios(ours, theirs)),
});

/** A row of one series. */
export const alone = (head: RowHead, ours: readonly number[]): Row => ({ ...head, ours: spread(ours) });

/** Whether a row reaches its target; undefined without one. */
export function met({ target, ours, ratio }: Row): boolean | undefined {
  const value = target?.of === "ratio" ? ratio?.median : ours.median;
  if (!target || value === undefined) return undefined;
  return value <= (target.atMost ?? Number.POSITIVE_INFINITY) && value >= (target.atLeast ?? Number.NEGATIVE_INFINITY);
}
