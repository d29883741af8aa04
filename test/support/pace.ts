/** "In under a second" on a machine that has other work to do: the second is as much longer as the machine is slower now. */
import assert from "node:assert/strict";
import { slowness } from "../../lab/index.ts";

/** Asserts that something took less than a second, as this machine goes. @param ms undefined: it never came */
export function assertUnderASecond(ms: number | undefined, what: string): void {
  assert.ok(ms !== undefined, `${what}: not within the time that was waited`);
  if (ms < 1_000) return;
  const slower = slowness();
  assert.ok(ms < 1_000 * slower, `${what}: ${ms} ms, on a machine ${slower.toFixed(1)} times slower than a quiet one`);
}
