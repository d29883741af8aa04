/** A kernel that refuses: what it does where it has no memory left, or somebody else holds what is to go. */
import { NetlinkError, type Operation, type OperationFailure, Rtnl } from "../../../src/netlink/index.ts";

const ENOMEM = 12;

/** Refusals that were asked for, until it is disposed of. */
export interface Refusal extends Disposable {
  /** How many changes were refused so far. */
  readonly count: number;
}

/** Has the kernel refuse the first change, from whichever conversation of this process, that `matches`; all others are made. */
export function refuseOnce(matches: (operation: Operation) => boolean): Refusal {
  const original = Object.getOwnPropertyDescriptor(Rtnl.prototype, "executeAll") as PropertyDescriptor;
  const executeAll = original.value as (operations: readonly Operation[]) => OperationFailure[];
  let count = 0;
  const restore = (): void => void Object.defineProperty(Rtnl.prototype, "executeAll", original);
  Object.defineProperty(Rtnl.prototype, "executeAll", {
    ...original,
    value(this: Rtnl, operations: readonly Operation[]): OperationFailure[] {
      const at = operations.findIndex(matches);
      const refused = operations[at];
      if (!refused) return executeAll.call(this, operations);
      restore();
      count++;
      const others = executeAll.call(this, operations.toSpliced(at, 1));
      const failures = others.map((one) => ({ ...one, index: one.index + (one.index >= at ? 1 : 0) }));
      failures.push({ index: at, operation: refused, error: new NetlinkError({ errno: ENOMEM, operation: refused }) });
      return failures.sort((a, b) => a.index - b.index);
    },
  });
  return {
    get count() {
      return count;
    },
    [Symbol.dispose]: restore,
  };
}
