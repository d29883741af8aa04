/** Questions that every agent of a cluster asks of the API server about the same few objects. */

/** What an agent's share of them may be: one object is asked about 25 times a second by all agents together, however many there are. */
const SHARE_MS = 40;

/** The longest pause between two questions of one agent in a cluster of so many nodes, in milliseconds. */
export const longestPause = (nodes: number): number => nodes * SHARE_MS;

/**
 * The pause before the next question, in milliseconds: twice as long each time that the answer was the same.
 * @param firstMs the shortest. @param mostMs the longest, unless the shortest is longer
 */
export function growingPause(firstMs: number, same: number, mostMs = firstMs): number {
  return Math.max(firstMs, Math.min(firstMs * 2 ** Math.min(same, 30), mostMs));
}
