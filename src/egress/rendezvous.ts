/**
 * Rendezvous hashing (Thaler and Ravishankar, 1996): everybody who knows the same names makes the same choice, and a name that goes moves what had
 * been given to it, and nothing else.
 */
import { sha256 } from "../addr/index.ts";
import type { AddressHolder } from "../crd/index.ts";

/** How much a name is the right one for something: the first 48 bits of a hash of both. */
function score(what: string, name: string): number {
  const hash = sha256(`${what} ${name}`);
  return Buffer.from(hash).readUIntBE(0, 6);
}

/** Names by how much they are the right one, the best first; equal scores, which hardly occur, by name. */
export const ranked = (what: string, names: readonly string[]): string[] =>
  names
    .map((name) => ({ name, score: score(what, name) }))
    .sort((a, b) => b.score - a.score || (a.name < b.name ? -1 : 1))
    .map(({ name }) => name);

/** The best name for each of many things, of which most are asked for again with every change; forgotten where there are too many. */
const known = new Map<string, string>();
const MOST_KNOWN = 200_000;

/** The name that is the right one for something; undefined where there is none. */
export function best(what: string, names: readonly string[]): string | undefined {
  if (names.length <= 1) return names[0];
  const key = `${what} ${names.join()}`;
  const before = known.get(key);
  if (before !== undefined) return before;
  const [first] = ranked(what, names) as [string, ...string[]];
  if (known.size >= MOST_KNOWN) known.clear();
  known.set(key, first);
  return first;
}

/**
 * Gives each address one of the nodes: the best one that has not more than its share already.
 * @returns node by address; empty where there is no node
 */
export function distribute(addresses: readonly string[], nodes: readonly string[]): Map<string, string> {
  const given = new Map<string, string>();
  if (nodes.length === 0) return given;
  const share = Math.ceil(addresses.length / nodes.length);
  const loads = new Map<string, number>();
  for (const address of [...addresses].sort()) {
    const node = ranked(address, nodes).find((one) => (loads.get(one) ?? 0) < share) as string;
    loads.set(node, (loads.get(node) ?? 0) + 1);
    given.set(address, node);
  }
  return given;
}

/** What is known of who can have addresses. */
export interface Candidates {
  /** Nodes that may have addresses. */
  all: ReadonlySet<string>;
  /** Those of them that are not dead. */
  live: readonly string[];
  /** Whether an address may go from a live node to the one that it belongs to: only after it has been where it is for a while. */
  mayMove: (holder: AddressHolder) => boolean;
}

/**
 * Who is to have each address. An address stays with its node while that is live and may have it, and of a dead one it goes to the node that
 * {@link distribute} gives it. Where no node is live it stays where it was: that one may come back.
 */
export function assign(
  addresses: readonly string[],
  holders: readonly AddressHolder[],
  { all, live, mayMove }: Candidates,
): AddressHolder[] {
  const right = distribute(addresses, live);
  return addresses.flatMap((address): AddressHolder[] => {
    const holder = holders.find((one) => one.address === address);
    const node = right.get(address);
    const stays =
      holder &&
      all.has(holder.node) &&
      (live.includes(holder.node) ? node === holder.node || !mayMove(holder) : node === undefined);
    if (stays) return [holder];
    return node === undefined ? [] : [{ address, node, generation: (holder?.generation ?? 0) + 1 }];
  });
}
