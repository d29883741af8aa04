/** The Nodes: what the API server says of this one and the others, the cache of that on disk, and what this node says of itself. */
export { type CachedInputs, cachePath, CacheWriter, loadCache, readCache } from "./cache.ts";
export { ClusterView } from "./cluster.ts";
export {
  identityOf,
  type Inputs,
  type NodeChanges,
  type NodeFacts,
  type NodeIdentity,
  type OwnFacts,
  sameBesideOurWord,
} from "./inputs.ts";
export { Membership } from "./membership.ts";
export { ownEntry } from "./publish.ts";
export { type Entries, type Publication, Publisher } from "./publisher.ts";
export { type Elsewhere, ReservedElsewhere, reservedHere, type ReservedInput } from "./reserved-here.ts";
export { serviceCidrsOf } from "./service-cidrs.ts";
export { DEFAULT_VNI, deviceThere, vniOf } from "./vni.ts";
export { Waiting, type WaitKind } from "./waiting.ts";
