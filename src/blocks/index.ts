/** Addresses that belong to one node or one claim of a whole cluster: blocks of pod networks, taken and given back through the API. */
export { blockObjects, claimObjects } from "./api-objects.ts";
export { BlockClaims } from "./block-claims.ts";
export { ClaimAddresses, type ClaimAddressesOptions } from "./claim-addresses.ts";
export { BlockError, type BlockErrorKind } from "./errors.ts";
export {
  type Claimed,
  type ClaimingPod,
  type ClaimObjects,
  claimOf,
  IpClaims,
  type IpClaimsOptions,
} from "./ip-claims.ts";
export type { BlockClaimsOptions } from "./options.ts";
export { type ApiObject, type Block, type BlockObjects, newBlock, readBlock, type SeenBlock } from "./objects.ts";
