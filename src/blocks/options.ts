/** What a node's claims of one network's blocks are made of: the network, the node, and the places where both are written down. */
import type { Ipam } from "../ipam/index.ts";
import type { BlockObjects, SeenBlock } from "./objects.ts";

export interface BlockClaimsOptions {
  network: string;
  /** Canonical, one a family. */
  cidrs: readonly string[];
  /** Addresses a block, a power of two. */
  blockSize: number;
  node: string;
  /** Of the Node object as it is now. */
  nodeUid: string;
  objects: BlockObjects;
  /** The blocks of this network that the reflector shows, all nodes' and claims'; may be behind. */
  view: () => Iterable<SeenBlock>;
  ipam: Pick<Ipam, "reserve" | "usage" | "retire" | "admit" | "retired" | "list">;
  /** Addresses that are never given. */
  exclude?: readonly string[];
  /** Told once of each thing that an operator must know: a block that was taken from under pods. */
  onProblem?: (message: string) => void;
}
