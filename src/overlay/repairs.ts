/**
 * Repairs: operations that nobody asked for. An operation repairs when it restores an entry that we had in place and
 * still want unchanged, or removes one that was never ours to want; everything else is a change of what is desired.
 */
import type { Operation } from "../netlink/index.ts";
import { entryKindOf, operationKey } from "./apply.ts";
import { type DesiredState, type EntryKind, entryKey } from "./types.ts";

/** Kinds of what can be repaired. */
export type RepairKind = EntryKind | "device";

/** What was repaired since the start. */
export interface RepairCounts {
  total: number;
  byKind: Record<RepairKind, number>;
}

/** The entry of a desired state that a key names. */
function lookUp(state: DesiredState, key: string): object | undefined {
  const space = key.indexOf(" ");
  const id = key.slice(space + 1);
  switch (key.slice(0, space) as EntryKind) {
    case "address":
      return state.addresses.get(id);
    case "fdb":
      return state.fdb.get(id);
    case "neighbour":
      return state.neighbours.get(id);
    default:
      return state.routes.get(id);
  }
}

/** Whether a key is of an entry that is desired. */
export const isDesired = (state: DesiredState, key: string): boolean => lookUp(state, key) !== undefined;

function same<T extends object>(a: T | undefined, b: T | undefined): boolean {
  if (a === b) return true;
  if (!a || !b) return false;
  const keys = Object.keys(a) as (keyof T)[];
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/** Keys of the entries of `now` that `before` has not, or has otherwise. */
export function changedKeys(before: DesiredState | undefined, now: DesiredState): string[] {
  const changed: string[] = [];
  const compare = <T extends object>(kind: EntryKind, of: (state: DesiredState) => ReadonlyMap<string, T>) => {
    const old = before && of(before);
    for (const [id, entry] of of(now)) if (!same(old?.get(id), entry)) changed.push(entryKey(kind, id));
  };
  compare("address", ({ addresses }) => addresses);
  compare("fdb", ({ fdb }) => fdb);
  compare("neighbour", ({ neighbours }) => neighbours);
  compare("route", ({ routes }) => routes);
  return changed;
}

/**
 * The repairs among a plan's operations: at most one an entry.
 * @param before what was desired when the kernel was last made right; undefined at the start, when nothing is a repair
 * @param pending keys of entries that were not in place then
 */
export function repairsIn(
  operations: readonly Operation[],
  before: DesiredState | undefined,
  now: DesiredState,
  pending: ReadonlySet<string>,
): Map<string, { kind: EntryKind; operation: Operation }> {
  const repairs = new Map<string, { kind: EntryKind; operation: Operation }>();
  if (before === undefined) return repairs;
  for (const operation of operations) {
    const kind = entryKindOf(operation);
    if (!kind) continue;
    const key = operationKey(operation);
    if (!pending.has(key) && same(lookUp(before, key), lookUp(now, key))) repairs.set(key, { kind, operation });
  }
  return repairs;
}

/** How many entries of each kind a desired state has. */
export function countEntries(state: DesiredState): Record<EntryKind, number> {
  return {
    fdb: state.fdb.size,
    neighbour: state.neighbours.size,
    route: state.routes.size,
    address: state.addresses.size,
  };
}
