/** All peers at once, for those who take them one by one. */
import type { Peer } from "../../../peers/index.ts";

/** The changes that leave these peers and no others, by node. @param before the nodes whose peers were set before */
export function replacement(before: Iterable<string>, peers: Iterable<Peer>): Map<string, Peer | undefined> {
  const changes = new Map<string, Peer | undefined>([...before].map((node) => [node, undefined]));
  for (const peer of peers) changes.set(peer.node, peer);
  return changes;
}
