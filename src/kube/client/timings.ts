/** How long things may take on the way to the API server; tests make them small. */

export interface ReflectorTimings {
  /** First wait after a failure, doubled with each further one, in milliseconds. */
  baseMs: number;
  /** Longest wait between attempts. */
  capMs: number;
  /** A watch that lived so long was a good one: the next failure begins at `baseMs` again. */
  stableMs: number;
  /** Server-side end of a watch in seconds; up to twice that, at random. client-go: 5 to 10 minutes. */
  timeoutSeconds: number;
  /** How much longer than that a watch without bookmarks may be silent. */
  marginMs: number;
  /** How long a watch may be silent once it has shown bookmarks, which come about every minute. */
  bookmarkMs: number;
  /** How long the initial events of a streaming list may pause before their end. */
  initialMs: number;
  /** How long until a resource that the server did not know is looked for again; up to twice that, at random. */
  absentMs: number;
  /** Milliseconds since the epoch. */
  now: () => number;
  /** 0 ≤ x < 1. */
  random: () => number;
}

export const TIMINGS: ReflectorTimings = {
  baseMs: 500,
  capMs: 15_000,
  stableMs: 10_000,
  timeoutSeconds: 300,
  marginMs: 30_000,
  bookmarkMs: 180_000,
  initialMs: 10_000,
  absentMs: 30_000,
  now: Date.now,
  random: Math.random,
};
