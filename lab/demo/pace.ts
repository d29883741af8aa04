/** How long a second is on this machine at this moment: one that has other work to do is not to blame for taking longer. */
import { execFileSync } from "node:child_process";

/** What starting a small program takes on a machine that is not busy, in milliseconds; a slower one has a longer second. */
const QUIET_START_MS = 2.5;
const STARTS = 9;

/** How many times slower this machine is now than a quiet one, at least 1: the third quartile of some starts of a program. */
export function slowness(): number {
  const took = Array.from({ length: STARTS }, () => {
    const start = performance.now();
    execFileSync("true");
    return performance.now() - start;
  }).sort((a, b) => a - b);
  return Math.max(1, (took[Math.floor(STARTS * 0.75)] as number) / QUIET_START_MS);
}
