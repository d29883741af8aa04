/** Addresses out of this node's pod CIDRs, kept on disk so that no crash loses or doubles one. */
export {
  IpamDuplicate,
  IpamExhausted,
  IpamInvalid,
  IpamStorageError,
  IpamTaken,
} from "./errors.ts";
export { Ipam } from "./ipam.ts";
export { GRACE_SECONDS, provablyDead, sandboxOf, uptime } from "./liveness.ts";
export { podSpan } from "./pool.ts";
export type { BlockUsage, FileIdentity, IpRange, Owner, Reservation, ReserveRequest } from "./types.ts";
