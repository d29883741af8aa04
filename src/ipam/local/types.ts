/**
 * The words of address management as plain data: who asks, for what, and what stands on disk.
 */

/** Who holds an address: an attachment (container ID + interface name, as in CNI) and its sandbox. */
export interface Owner {
  containerId: string;
  ifname: string;
  /** Path of the sandbox's network namespace, as the runtime gave it. */
  netns?: string;
}

/** A file's identity: the same pair is the same file, whatever path leads to it. */
export interface FileIdentity {
  dev: number;
  ino: number;
}

/** A range of addresses in the CNI conventions' form (runtimeConfig `ipRanges`, host-local `ranges`). */
export interface IpRange {
  subnet: string;
  rangeStart?: string;
  rangeEnd?: string;
  /** Never given. */
  gateway?: string;
}

/** What is asked for. */
export interface ReserveRequest {
  /**
   * This node's pod CIDRs, any number a family (the blocks of a network that is dealt out in blocks); the first one's
   * family comes first in the answer. A family's address comes from any of its CIDRs, the first ones first.
   */
  podCidrs: readonly string[];
  /** Asked-for addresses ("ip" or "ip/prefix"), at most one a family; other families get any address. */
  ips?: readonly string[];
  /**
   * The asked-for addresses belong to a claim: they may be outside of the pod CIDRs, of which there may be none then.
   * Inside of them the same rules hold as without a claim.
   */
  claimed?: boolean;
  /** Range sets, at most one a family; they narrow the pod CIDRs, a family without one is not narrowed. */
  ranges?: readonly (readonly IpRange[])[];
  /** Addresses that are never given. */
  exclude?: readonly string[];
  /** Whether an address that no reservation tells of is in use all the same: records may be lost under pods that run. */
  inUse?: (ip: string) => boolean;
}

/** One address and all that is known of the one who holds it. */
export interface Reservation {
  ip: string;
  owner: Owner;
  /** When it was given: milliseconds since the epoch, for people; `uptime` is for arithmetic. */
  since: number;
  /** When it was given, in seconds of CLOCK_MONOTONIC: comparable only while `bootId` is the same. */
  uptime: number;
  bootId: string;
  /** The sandbox's namespace, and the directory in which its path lies, as seen when the address was given. */
  netnsIdentity?: FileIdentity;
  netnsDir?: FileIdentity;
}

/** How full a block is. */
export interface BlockUsage {
  block: string;
  /** Addresses of the block that are taken, by whatever name. */
  used: number;
  /** Addresses of it that pods may have at all. */
  total: bigint;
}
