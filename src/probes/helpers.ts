/** Who is asked about a peer that does not answer, and who speaks of it: both found from names, by every node alike. */
import type { Fault } from "./judge.ts";
import { hash, mixed } from "./schedule.ts";
import type { Target } from "./target.ts";

/** Faults about which others know something. */
export const ASKED: ReadonlySet<Fault> = new Set(["down", "silent", "tunnel", "family4", "family6", "narrow"]);

/** Nodes that are asked about one that does not answer. */
const HELPERS = 4;
/** Nodes that write an Event about the same. */
const SPEAKERS = 3;
/** Between nodes that are asked: neighbours in the list are often neighbours in a rack. */
const STRIDE = 7_919;

/** A node with the hash of its name. */
interface Named {
  readonly node: string;
  readonly hash: number;
}

/** The nodes that write Events about one: the same few wherever this is asked, as far as the same nodes are given. */
export function speakersOf(about: string, nodes: Iterable<Named>): string[] {
  const seed = hash(about);
  const best: { node: string; key: number }[] = [];
  for (const { node, hash: of } of nodes) {
    const key = mixed(seed ^ of);
    if (node === about || (best.length === SPEAKERS && key >= (best.at(-1)?.key ?? 0))) continue;
    best.push({ node, key });
    best.sort((x, y) => x.key - y.key);
    best.length = Math.min(best.length, SPEAKERS);
  }
  return best.map(({ node }) => node);
}

/** Of the nodes on one side of a link, those that write Events about it. */
export const speakersOfSide = (side: readonly string[]): string[] =>
  side.toSorted((x, y) => hash(x) - hash(y)).slice(0, SPEAKERS);

/** Who is asked about a peer: those who speak of it, and some that differ from node to node, as far as they answer. @param own hash of this node's name */
export function helpersFor(
  target: Target,
  targets: ReadonlyMap<string, Target>,
  speakers: readonly string[],
  own: number,
): Target[] {
  const answering = (other: Target): boolean => other !== target && other.reached;
  const chosen = new Set<Target>();
  for (const node of speakers) {
    const speaker = targets.get(node);
    if (speaker && answering(speaker)) chosen.add(speaker);
  }
  const all = [...targets.values()];
  const start = mixed(own ^ target.hash) % all.length;
  for (let n = 0; n < all.length && chosen.size < HELPERS; n++) {
    const other = all[(start + n * STRIDE) % all.length] as Target;
    if (answering(other)) chosen.add(other);
  }
  // A stride that has a divisor in common with their number leaves some out.
  for (const other of all) {
    if (chosen.size >= HELPERS) break;
    if (answering(other)) chosen.add(other);
  }
  return [...chosen];
}
