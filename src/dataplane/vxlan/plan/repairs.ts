/**
 * Repairs: operations that nobody asked for. An operation repairs when it restores an entry that we had in place and
 * still want unchanged, or removes one that was never ours to want; everything else is a change of what is desired.
 */
import type { Operation } from "../../../netlink/index.ts";
import { entryKindOf, operationKey } from "./apply.ts";
import type { ChangedEntries } from "../desired/desired.ts";
import type { EntryKind } from "../../../peers/index.ts";

/** Kinds of what can be repaired. */
export type RepairKind = EntryKind | "device";

/** What was repaired since the start. */
export interface RepairCounts {
  total: number;
  byKind: Record<RepairKind, number>;
}

/**
 * The repairs among a plan's operations: at most one an entry.
 * @param changed what is desired otherwise since the kernel was last made right; undefined at the start, when nothing is
 * a repair
 * @param pending keys of entries that were not in place then
 */
export function repairsIn(
  operations: readonly Operation[],
  changed: ChangedEntries | undefined,
  pending: ReadonlySet<string>,
): Map<string, { kind: EntryKind; operation: Operation }> {
  const repairs = new Map<string, { kind: EntryKind; operation: Operation }>();
  if (changed === undefined) return repairs;
  for (const operation of operations) {
    const kind = entryKindOf(operation);
    if (!kind) continue;
    const key = operationKey(operation);
    if (!pending.has(key) && !changed.has(key)) repairs.set(key, { kind, operation });
  }
  return repairs;
}
