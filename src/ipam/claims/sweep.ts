/** What is left of claims that are gone: it is for one agent of the cluster to clear away, and any may. */
import { type BlockObjects, calling, readBlocks, remove } from "../blocks/index.ts";
import { claimBlocks, type Freeing, freeEntries, WITHOUT_NODE } from "./entries.ts";

/**
 * Frees what belongs to claims that are gone in one network, and deletes its claims' blocks without entries.
 * @returns the freed IP and MAC addresses. @throws BlockError `unavailable`
 */
export async function sweepClaims(options: Freeing): Promise<string[]> {
  const { network, blocks } = options;
  const freed = await freeEntries(await claimBlocks(blocks, network), options);
  for (const block of await claimBlocks(blocks, network)) {
    if (Object.keys(block.addresses).length === 0) await remove(blocks, block, block.resourceVersion);
  }
  return freed;
}

/** Networks that have claims' blocks, also those that nobody defines any more. @throws BlockError `unavailable` */
export async function networksWithClaims(blocks: Pick<BlockObjects, "list">): Promise<Set<string>> {
  const found = await calling("cannot see which networks have claims' blocks", () => blocks.list(WITHOUT_NODE));
  return new Set(
    readBlocks(found)
      .filter(({ node }) => node === "")
      .map(({ network }) => network),
  );
}
