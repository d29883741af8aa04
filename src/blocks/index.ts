/** Addresses that belong to one node or one claim of a whole cluster: blocks of pod networks, taken and given back through the API. */
export { blockObjects, takenBlocks, watchOwnBlocks } from "./api-objects.ts";
export { BlockClaims } from "./block-claims.ts";
export { BlockError, type BlockErrorKind } from "./errors.ts";
export type { BlockClaimsOptions } from "./options.ts";
export { type ApiObject, type Block, type BlockObjects, newBlock, readBlock, type SeenBlock } from "./objects.ts";
