/** Blocks of pod networks' addresses, taken and given back through the API. */
export { acquire, calling, olderOverlap, remove, unavailable } from "./acquire.ts";
export { blockObjects, takenBlocks, watchOwnBlocks } from "./api-objects.ts";
export { BlockClaims } from "./block-claims.ts";
export { blockCount, blockOf, freeBlocks } from "./candidates.ts";
export { BlockError, type BlockErrorKind } from "./errors.ts";
export { type Followed, NetworkBlocks } from "./network-blocks.ts";
export { MAC_CIDR, NetworkView, type PlacedBlock, readPlaced, type ViewChange } from "./network-view.ts";
export type { BlockClaimsOptions } from "./options.ts";
export {
  type ApiObject,
  type Block,
  type BlockObjects,
  keepingOrder,
  newBlock,
  readBlock,
  readBlocks,
  type SeenBlock,
} from "./objects.ts";
export { PublishedPods } from "./published-pods.ts";
