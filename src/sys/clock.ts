/**
 * A clock that nobody sets: for durations and deadlines. Not `performance.now()`, whose first use loads a module of
 * Node's that takes 2 ms, which is much in a process that lives for 40.
 */

/** Milliseconds of CLOCK_MONOTONIC, with fractions. */
export function monotonicMs(): number {
  const [seconds, nanoseconds] = process.hrtime();
  return seconds * 1e3 + nanoseconds / 1e6;
}
