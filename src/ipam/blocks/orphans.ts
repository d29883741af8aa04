/**
 * Addresses that are in use on a node and in no block of it: pods outlive the deletion of a block. What is to be done about each
 * follows from the blocks that there are. Pure.
 */
import { cidrContains, cidrsOverlap } from "../../addr/index.ts";
import type { Reservation } from "../local/index.ts";
import { blockOf } from "./candidates.ts";
import type { SeenBlock } from "./objects.ts";

/** What is to be done about one; nothing when it is empty. */
export interface OrphanVerdict {
  /** The block to claim for it. */
  claim?: string;
  /** It is an IPClaim's. */
  claimed?: true;
  /** It is lost to another node, in words. */
  problem?: string;
}

/** Judges one. @param blocks all that are known of the network */
export function judgeOrphan(
  { ip, owner }: Pick<Reservation, "ip" | "owner">,
  { network, node, cidrs, blockSize }: { network: string; node: string; cidrs: readonly string[]; blockSize: number },
  blocks: readonly SeenBlock[],
): OrphanVerdict {
  const cidr = cidrs.find((one) => cidrContains(one, ip));
  const block = blocks.find((one) => cidrContains(one.cidr, ip));
  if (block?.node === "") return { claimed: true };
  if (block !== undefined && block.node !== node) {
    const whose = `address ${ip} of container ${owner.containerId} interface ${owner.ifname}`;
    return {
      problem: `network ${network}: ${whose} is in block ${block.cidr} of ${holderOf(block)}; that pod must be made again`,
    };
  }
  if (cidr === undefined || block !== undefined) return {};
  const wanted = blockOf(cidr, blockSize, ip);
  return blocks.some((one) => cidrsOverlap(one.cidr, wanted)) ? {} : { claim: wanted };
}

/** Whose a block is, in words. */
export const holderOf = ({ node, name }: SeenBlock): string =>
  node === "" ? `claims (NetworkBlock ${name})` : `node ${node}`;
