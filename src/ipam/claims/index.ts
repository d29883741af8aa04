/** Addresses that stay a workload's wherever its pod runs: the claims of pod networks, and who uses them. */
export { claimObjects } from "./api-objects.ts";
export { ClaimPlaces } from "./claim-places.ts";
export { Claims, type ClaimsOptions, type Claimed, type ClaimingPod, type Use } from "./claims.ts";
export { entryOfMac } from "./macs.ts";
export {
  type ClaimObjects,
  type Holder,
  holderOf,
  holderText,
  type PodFacts,
  readClaim,
  UnusableClaim,
} from "./objects.ts";
export { networksWithClaims, sweepClaims } from "./sweep.ts";
