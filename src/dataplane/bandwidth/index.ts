/** Bandwidth of pods: what limits are, how they are said, and how they are kept in the kernel. */
export { Bandwidth, BandwidthRefused, limitDifferences, type LimitRequest, type PodBandwidth } from "./bandwidth.ts";
export { bucketOf, isBucket } from "./bucket.ts";
export { entriesOf, ifbOf, type LimitEntry, type LimitObject, limitKey, limitOperations } from "./entries.ts";
export {
  BandwidthKeeper,
  type BandwidthKeeperOptions,
  type LimitedAttachment,
  type LimitedInterface,
} from "./keeper.ts";
export {
  type Annotated,
  annotatedLimits,
  BANDWIDTH_ANNOTATIONS,
  type Direction,
  DIRECTIONS,
  isRate,
  isUnlimited,
  type Limit,
  type Limits,
  parseRate,
  RATE_RULE,
  rateText,
} from "./limits.ts";
export { BANDWIDTH, LimitRecords, type LimitOwner, type LimitRecord } from "./records.ts";
