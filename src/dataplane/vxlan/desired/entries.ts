/** The entries of a desired state by their keys. */
import { type DesiredEntry, type DesiredState, ENTRY_KINDS, type EntryKind, entryKey } from "../../../peers/index.ts";

type Maps = { readonly [kind in EntryKind]: Map<string, DesiredEntry> };

/** The maps of a state by kind; what is put into one is of its kind. */
export const mapsOf = ({ addresses, fdb, neighbours, routes }: DesiredState): Maps => ({
  address: addresses,
  fdb,
  neighbour: neighbours,
  route: routes,
});

function split(key: string): [kind: EntryKind, id: string] {
  const space = key.indexOf(" ");
  return [key.slice(0, space) as EntryKind, key.slice(space + 1)];
}

/** The entry that a key names; undefined when it is not desired. */
export function entryOf(state: DesiredState, key: string): DesiredEntry | undefined {
  const [kind, id] = split(key);
  return mapsOf(state)[kind].get(id);
}

/** Whether a key is of an entry that is desired. */
export const isDesired = (state: DesiredState, key: string): boolean => entryOf(state, key) !== undefined;

/** Whether two entries are the same in everything. */
export function sameEntry(a: DesiredEntry | undefined, b: DesiredEntry | undefined): boolean {
  if (a === b) return true;
  if (!a || !b) return false;
  const keys = Object.keys(a) as (keyof DesiredEntry)[];
  return keys.length === Object.keys(b).length && keys.every((key) => a[key] === b[key]);
}

/** The keys of all entries. */
export function* keysOf(state: DesiredState): Generator<string> {
  const maps = mapsOf(state);
  for (const kind of ENTRY_KINDS) for (const id of maps[kind].keys()) yield entryKey(kind, id);
}

/** A state of the same device with only some entries, each as `entry` says; undefined leaves one out. */
export function partOf(
  { device }: DesiredState,
  keys: Iterable<string>,
  entry: (key: string) => DesiredEntry | undefined,
): DesiredState {
  const part = { device, addresses: new Map(), fdb: new Map(), neighbours: new Map(), routes: new Map() };
  const maps = mapsOf(part);
  for (const key of keys) {
    const [kind, id] = split(key);
    const found = entry(key);
    if (found) maps[kind].set(id, found);
  }
  return part;
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
