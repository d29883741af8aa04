/**
 * The plan of a change, by the same planner as the plan of everything: it is given only the entries that changed and those
 * that are not in place, and of the kernel what it is assumed to hold of them. An entry's plan depends on no
 * other's, so the operations are those that the whole state would give.
 */
import type { Operation } from "../../../netlink/index.ts";
import { assumedActual } from "./actual.ts";
import type { ChangedEntries } from "../desired/desired.ts";
import { entryOf, partOf } from "../desired/entries.ts";
import { plan } from "./plan.ts";
import type { DesiredState } from "../../../peers/index.ts";

/**
 * Plans what changed since the kernel was made right.
 * @param changed the changed entries as they were then
 * @param missing entries that were desired then and could not be put in place
 */
export function planChanges(
  state: DesiredState,
  changed: ChangedEntries,
  device: { ifindex: number; vni: number; port: number },
  missing: ReadonlySet<string>,
): Operation[] {
  const keys = new Set([...changed.keys(), ...missing]);
  const former = partOf(state, keys, (key) => (changed.has(key) ? changed.get(key) : entryOf(state, key)));
  const wanted = partOf(state, keys, (key) => entryOf(state, key));
  return plan(wanted, assumedActual(former, device, missing));
}
