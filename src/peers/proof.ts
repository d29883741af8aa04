/**
 * What counts of a node's word in a pod network. Its annotation is its own word, and says where its VTEP is; that it takes part, and
 * with which prefixes, is what it has blocks for, which the API server lets it make for itself alone. Without one a node that merely
 * announces itself would be let into a tenant's network, and draw what it likes.
 */
import type { NodeVtep, Refusal, VtepAnnotation } from "./types.ts";

/** An entry with the prefixes that the node has blocks for; a refusal where it has no block, or none of those that it announces. */
export function proven(
  network: string,
  { name: node, blocks = [] }: NodeVtep,
  entry: VtepAnnotation,
): VtepAnnotation | Refusal {
  const refuse = (message: string): Refusal => ({ node, reason: "NoNetworkBlock", message });
  const announced = entry.podCidrs.length === 0 ? "" : ` with ${entry.podCidrs.join(", ")}`;
  if (blocks.length === 0)
    return refuse(`it announces itself in network ${network}${announced}, and has no NetworkBlock there`);
  const podCidrs = entry.podCidrs.filter((cidr) => blocks.includes(cidr));
  if (podCidrs.length === 0 && entry.podCidrs.length > 0)
    return refuse(
      `it announces itself in network ${network}${announced}, and its NetworkBlocks there are ${blocks.join(", ")}`,
    );
  return { ...entry, podCidrs };
}

/** Prefixes that a node announces in a network without having blocks for them. */
export const unproven = ({ blocks = [] }: NodeVtep, { podCidrs }: VtepAnnotation): string[] =>
  podCidrs.filter((cidr) => !blocks.includes(cidr));
