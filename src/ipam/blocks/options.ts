/** What a node's claims of one network's blocks are made of: the network, the node, and the places where both are written down. */
import type { Ipam } from "../local/index.ts";
import type { BlockObjects, SeenBlock } from "./objects.ts";

export interface BlockClaimsOptions {
  network: string;
  /** Of the PodNetwork: blocks of one that had its name before are not its own. Absent: any are. */
  networkUid?: string;
  /** Canonical, one a family. */
  cidrs: readonly string[];
  /** Addresses a block, a power of two. */
  blockSize: number;
  node: string;
  /** Of the Node object as it is now; undefined while there is none, as before a node registers again. */
  nodeUid: () => string | undefined;
  objects: BlockObjects;
  /** What the reflector shows of this node's blocks, and maybe others; may be behind. */
  view: () => Iterable<SeenBlock>;
  /** Blocks of this network, all nodes' and claims'; may be behind. Asked for when one is claimed. Rejects with ApiError. */
  taken: () => Promise<Iterable<SeenBlock>>;
  ipam: Pick<Ipam, "usage" | "retire" | "admit" | "retired" | "list">;
  /** Addresses that are never given. */
  exclude?: readonly string[];
  /** Told once of each thing that an operator must know: a block that was taken from under pods. */
  onProblem?: (message: string) => void;
}
