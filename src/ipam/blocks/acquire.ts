/**
 * Getting one block: creating the object whose name is the lock, and finding out what happened when the answer was lost.
 *
 * A creation without an answer may have been done, or be done later. Nothing is assumed: the name is looked at, and what
 * is not there yet is asked for again by the next attempt, which meets the same name (candidates come in a fixed order).
 */
import { cidrsOverlap } from "../../addr/index.ts";
import { ApiError } from "../../kube/index.ts";
import { blockName, NETWORK_LABEL } from "../../crd/index.ts";
import { BlockError } from "./errors.ts";
import {
  type Block,
  type BlockObjects,
  byCreation,
  type Claimant,
  keepingOrder,
  newBlock,
  ownerOf,
  readBlock,
  readBlocks,
  type SeenBlock,
  SIZE_LABEL,
} from "./objects.ts";

/** What became of an attempt: made now, there already and the claimant's, or somebody else's (`undefined`: gone again). */
export type Acquired = { outcome: "made" | "found"; block: Block } | { outcome: "others"; block: Block | undefined };

/** Tries to get one block. @throws BlockError `unavailable` when it is not known whether we have it, or nobody may write */
export async function acquire(objects: BlockObjects, who: Claimant, cidr: string, size: number): Promise<Acquired> {
  try {
    return { outcome: "made", block: readBlock(await objects.create(newBlock(who, cidr, size))) };
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    const exists = error.status === 409 && error.reason !== "Conflict";
    if (!exists && !outcomeUnknown(error))
      throw unavailable(`cannot claim block ${cidr} of network ${who.network}`, error);
    const there = await calling(`cannot see who has block ${cidr} of network ${who.network}`, () =>
      objects.get(blockName(who.network, cidr)),
    );
    if (there === undefined) {
      if (exists) return { outcome: "others", block: undefined };
      throw unavailable(`cannot tell whether block ${cidr} of network ${who.network} was claimed`, error);
    }
    // One that makes no sense is a lock all the same, and nobody's: the next candidate is tried.
    const [block] = readBlocks([there]);
    return block?.node === who.node ? { outcome: "found", block } : { outcome: "others", block };
  }
}

/**
 * Whether a block may be used: no older one overlaps it. Blocks of one size have the same grid, and the name is the lock;
 * a block of another size (the network's was changed) has another name, so after creation those are listed and the younger
 * one yields. Whoever comes later in the API's order sees the earlier one, since its list is from after its creation.
 * @returns the older one that overlaps, if there is one. @throws BlockError `unavailable`
 */
export async function olderOverlap(objects: BlockObjects, block: Block): Promise<Block | undefined> {
  const size = block.object.metadata.labels?.[SIZE_LABEL];
  const others = size === undefined ? "" : `,${SIZE_LABEL} notin (${size})`;
  const listed = await calling(`cannot see what else overlaps block ${block.cidr} of network ${block.network}`, () =>
    objects.list(`${NETWORK_LABEL}=${block.network}${others}`),
  );
  return readBlocks(listed).find(
    (other) => other.uid !== block.uid && cidrsOverlap(other.cidr, block.cidr) && byCreation(other, block) < 0,
  );
}

/**
 * Deletes a block; that it (this very object) is gone already is fine, and with a resourceVersion that it has been changed.
 * @throws BlockError `unavailable`
 */
export async function remove(
  objects: BlockObjects,
  { name, uid, cidr, network }: SeenBlock,
  resourceVersion?: string,
): Promise<void> {
  try {
    await objects.delete(name, uid, resourceVersion);
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 404 || error.status === 409) return;
    throw unavailable(`cannot give back block ${cidr} of network ${network}`, error);
  }
}

/**
 * A block as the API has it now; `undefined` when this very object is gone, or another node's by now.
 * @throws BlockError `unavailable`
 */
export async function confirmed(
  objects: BlockObjects,
  { name, uid, cidr, node }: SeenBlock,
): Promise<Block | undefined> {
  const now = await calling(`cannot look at block ${cidr}`, () => objects.get(name));
  if (now === undefined || now.metadata.uid !== uid) return undefined;
  const block = readBlock(now);
  return block.node === node ? block : undefined;
}

/**
 * Makes a block go with the Node as that is now: a block of a Node that was deleted and registered again would be collected
 * under its pods. @param nodeUid undefined while there is no Node: the block goes with nothing then. @throws BlockError `unavailable`
 */
export async function tied(objects: BlockObjects, block: Block, nodeUid: string | undefined): Promise<Block> {
  const owners = block.object.metadata.ownerReferences ?? [];
  const wanted = nodeUid === undefined ? [] : [ownerOf(block.node, nodeUid)];
  if (owners.length === wanted.length && owners.every(({ uid }) => uid === nodeUid)) return block;
  const object = keepingOrder(block);
  const metadata = { ...object.metadata, ownerReferences: wanted };
  return readBlock(
    await calling(`cannot tie block ${block.cidr} to this Node`, () => objects.replace({ ...object, metadata })),
  );
}

/** Whether a write may have been done although it failed. */
const outcomeUnknown = ({ status }: ApiError): boolean => status === 0 || status === 408 || status >= 500;

/** Gives the API's errors the words of what was being done. */
export async function calling<T>(doing: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    if (error instanceof ApiError) throw unavailable(doing, error);
    throw error;
  }
}

/** The API's error in the words of what was being done, and what to do. */
export function unavailable(doing: string, error: ApiError): BlockError {
  const todo =
    error.status === 403
      ? "; the agent's ClusterRole must allow it"
      : "; it is tried again with the pod's next attempt";
  return new BlockError("unavailable", `${doing}: ${error.message}${todo}`, { cause: error });
}
