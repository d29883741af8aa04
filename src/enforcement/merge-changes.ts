/** Several changes as one: of what they say about the same object, the last word. */
import { type Changes, policyKeyOf } from "../policy/index.ts";
import { keyOf } from "../json/index.ts";

/** @param changes the older before the newer */
export function mergeChanges(changes: readonly Changes[]): Changes {
  const [only] = changes;
  if (only && changes.length === 1) return only;
  const servers = changes.findLast((one) => one.servers)?.servers;
  const name = (one: { name: string } | string): string => (typeof one === "string" ? one : one.name);
  return {
    pods: merged(
      changes.map(({ pods }) => pods),
      keyOf,
    ),
    namespaces: merged(
      changes.map(({ namespaces }) => namespaces),
      name,
    ),
    nodes: merged(
      changes.map(({ nodes }) => nodes),
      name,
    ),
    policies: merged(
      changes.map(({ policies }) => policies),
      policyKeyOf,
    ),
    names: merged(
      changes.map(({ names }) => names),
      ({ name, ip }) => `${name} ${ip}`,
    ),
    ...(servers && { servers }),
  };
}

/** What came and what is gone, of one kind. */
interface Part<Set, Gone> {
  set?: readonly Set[];
  gone?: readonly Gone[];
}

function merged<Set, Gone>(
  parts: readonly (Part<Set, Gone> | undefined)[],
  key: (one: Set | Gone) => string,
): { set: Set[]; gone: Gone[] } {
  const set = new Map<string, Set>();
  const gone = new Map<string, Gone>();
  for (const part of parts) {
    // Within one change what is gone goes first.
    for (const one of part?.gone ?? []) {
      set.delete(key(one));
      gone.set(key(one), one);
    }
    for (const one of part?.set ?? []) {
      gone.delete(key(one));
      set.set(key(one), one);
    }
  }
  return { set: [...set.values()], gone: [...gone.values()] };
}
