/** What many samples of one thing come to. Medians throughout: on a shared machine a mean is the neighbours' work. */

/** The value below which that share of the samples lies. @param share 0 to 1 */
export function quantile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  const at = (sorted.length - 1) * share;
  const low = sorted[Math.floor(at)] ?? Number.NaN;
  const high = sorted[Math.ceil(at)] ?? Number.NaN;
  return low + (high - low) * (at - Math.floor(at));
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5);

/** Median and the quarter of the samples on either side of it. */
export interface Spread {
  median: number;
  low: number;
  high: number;
  count: number;
}

export const spread = (samples: readonly number[]): Spread => ({
  median: median(samples),
  low: quantile(samples, 0.25),
  high: quantile(samples, 0.75),
  count: samples.length,
});

/**
 * Ratios of pairs that were measured right after one another, so that what slows the machine slows both alike.
 * The median of these is the ratio that is reported.
 */
export const ratios = (ours: readonly number[], theirs: readonly number[]): number[] =>
  ours.slice(0, theirs.length).map((value, at) => value / (theirs[at] ?? Number.NaN));
