/**
 * Carrying a plan out: in chunks, between which the event loop turns, so that the agent answers its callers while it
 * programs thousands of peers. Every entry fails alone. Removing what is gone already is no failure.
 */
import { setImmediate as nextTurn } from "node:timers/promises";
import type { Operation, OperationFailure, Rtnl } from "../../netlink/index.ts";

/** Operations in one go: some ten milliseconds of the kernel's time. */
const CHUNK = 256;

/** What the kernel answers when there is nothing to remove (by kind: routes, FDB and neighbours, addresses, devices). */
const GONE = new Set(["ESRCH", "ENOENT", "EADDRNOTAVAIL", "ENODEV"]);

/** Applies operations in their order. Returns those that failed and matter. @throws when the socket itself fails */
export async function applyPlan(
  rtnl: Pick<Rtnl, "executeAll">,
  operations: readonly Operation[],
): Promise<OperationFailure[]> {
  const failures: OperationFailure[] = [];
  for (let at = 0; at < operations.length; at += CHUNK) {
    if (at > 0) await nextTurn();
    for (const failure of rtnl.executeAll(operations.slice(at, at + CHUNK))) {
      if (failure.operation.op === "del" && GONE.has(failure.error.code)) continue;
      failures.push({ ...failure, index: at + failure.index });
    }
  }
  return failures;
}
