/** "In under a second" on a machine that has other work to do: the second is as much longer as the machine is slower now, or is said to be. */
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { PATIENCE } from "./eventually.ts";

/** What starting a small program takes on a machine that is not busy, in milliseconds; a slower one has a longer second. */
const QUIET_START_MS = 2.5;
const STARTS = 9;

/** How many times slower this machine is now than a quiet one, by the third quartile of some starts of a program; at least what it is said to be. */
function slowness(): number {
  const took = Array.from({ length: STARTS }, () => {
    const start = performance.now();
    execFileSync("true");
    return performance.now() - start;
  }).sort((a, b) => a - b);
  return Math.max(PATIENCE, (took[Math.floor(STARTS * 0.75)] as number) / QUIET_START_MS);
}

/** Asserts that something took less than a second, as this machine goes. @param ms undefined: it never came */
export function assertUnderASecond(ms: number | undefined, what: string): void {
  assert.ok(ms !== undefined, `${what}: not within the time that was waited`);
  if (ms < 1_000) return;
  const slower = slowness();
  assert.ok(ms < 1_000 * slower, `${what}: ${ms} ms, on a machine ${slower.toFixed(1)} times slower than a quiet one`);
}
