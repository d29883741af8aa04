/**
 * This node's transits: addresses out of its own prefix of which each stands for the pods of a pod network here that leave behind one egress address. They
 * are reserved as pods' addresses are, so nobody else has them, and found again by the next agent.
 */
import { cidrContains, familyOf } from "../addr/index.ts";
import { type Ipam, IpamExhausted } from "../ipam/local/index.ts";
import { bootId } from "../sys/index.ts";

/** Who has them in the records, where a pod's has its container; in place of its interface is the egress address. */
const OWNER = "egress-gateway";

export interface TransitsOptions {
  ipam: Pick<Ipam, "list" | "reserve" | "release">;
  /** Whether something has an address although no record says so. */
  inUse: (ip: string) => boolean;
}

/** See the header. */
export class Transits {
  readonly #options: TransitsOptions;
  #own: Map<string, string> | undefined;
  readonly #faults = new Map<string, string>();

  constructor(options: TransitsOptions) {
    this.#options = options;
  }

  /** Transits by egress address. @throws IpamStorageError */
  get all(): ReadonlyMap<string, string> {
    return this.#read();
  }

  /** Why egress addresses have none, by address. */
  get faults(): ReadonlyMap<string, string> {
    return this.#faults;
  }

  #read(): Map<string, string> {
    if (this.#own) return this.#own;
    const { ipam } = this.#options;
    const own = new Map<string, string>();
    for (const { ip, owner, bootId: boot } of ipam.list()) {
      if (owner.containerId !== OWNER) continue;
      // Of another boot nothing is left that would have it, and housekeeping frees it.
      if (boot === bootId()) own.set(owner.ifname, ip);
      else ipam.release(owner);
    }
    return (this.#own = own);
  }

  /** The transit of an egress address, a new one where it has none; undefined where there can be none. @param podCidrs of this node @throws IpamStorageError */
  take(address: string, podCidrs: readonly string[]): string | undefined {
    const own = this.#read();
    const { ipam, inUse } = this.#options;
    const family = familyOf(address);
    const cidrs = podCidrs.filter((cidr) => familyOf(cidr) === family);
    const there = own.get(address);
    if (there !== undefined && cidrs.some((cidr) => cidrContains(cidr, there))) return there;
    this.free(address);
    if (cidrs.length === 0) {
      this.#faults.set(address, `this node has no IPv${family} addresses of which one could stand for its pods`);
      return undefined;
    }
    try {
      const [ip] = ipam.reserve({ containerId: OWNER, ifname: address }, { podCidrs: cidrs, inUse });
      if (ip === undefined) return undefined;
      own.set(address, ip);
      this.#faults.delete(address);
      return ip;
    } catch (error) {
      if (!(error instanceof IpamExhausted)) throw error;
      this.#faults.set(address, `no address is free to stand for its pods: ${error.message}`);
      return undefined;
    }
  }

  /** Nobody leaves behind an egress address any more. @throws IpamStorageError */
  free(address: string): void {
    this.#faults.delete(address);
    if (!this.#read().delete(address)) return;
    this.#options.ipam.release({ containerId: OWNER, ifname: address });
  }
}
