/** Which blocks a node needs no more: pure, from how full each is. */
import { type Family, familyOf } from "../../addr/index.ts";
import type { BlockUsage } from "../local/index.ts";

/**
 * Blocks that can be given back, newest first: empty, not the first of their family (the VTEP has its network address), and
 * not the only empty one, which is kept for the next pod. @param usage oldest block first
 */
export function surplusOf(families: readonly Family[], usage: readonly BlockUsage[]): string[] {
  return families.flatMap((family) => {
    const blocks = usage.filter(({ block }) => familyOf(block) === family);
    const empty = blocks.filter(({ used }) => used === 0);
    if (empty.length < 2) return [];
    return empty
      .filter((one) => one !== blocks[0])
      .map(({ block }) => block)
      .toReversed();
  });
}
