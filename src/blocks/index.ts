/** Addresses that belong to one node or one claim of a whole cluster: blocks of pod networks, taken and given back through the API. */
export { BlockClaims, type BlockClaimsOptions } from "./block-claims.ts";
export { blockCount, blockOf, freeBlocks } from "./candidates.ts";
export { BlockError, type BlockErrorKind } from "./errors.ts";
export { type ApiObject, type Block, type BlockObjects, byCreation, newBlock, readBlock } from "./objects.ts";
