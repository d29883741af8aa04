/** Blocks and the address management together, as an ADD has them: addresses, after claiming blocks where there is none left. */
import { familyOf } from "../../../src/addr/index.ts";
import { BlockClaims, type BlockClaimsOptions, BlockError } from "../../../src/ipam/blocks/index.ts";
import { type Ipam, IpamExhausted, type Owner, type ReserveRequest } from "../../../src/ipam/local/index.ts";

/** How often an address is tried for with a new block: others may take what was just claimed. */
const MAX_ROUNDS = 8;

/** See the header. */
export class ReservingBlocks extends BlockClaims {
  readonly #options: BlockClaimsOptions & { ipam: Pick<Ipam, "reserve"> };

  constructor(options: BlockClaimsOptions & { ipam: Pick<Ipam, "reserve"> }) {
    super(options);
    this.#options = options;
  }

  /**
   * Gives an attachment its addresses in the order of the network's CIDRs, after claiming blocks where there is none left.
   * @throws BlockError and whatever {@link Ipam.reserve} throws but exhaustion
   */
  async reserve(owner: Owner, request: Omit<ReserveRequest, "podCidrs" | "exclude">): Promise<string[]> {
    const { network, cidrs, ipam, exclude } = this.#options;
    const asked = new Set(request.claimed === true ? (request.ips ?? []).map(familyOf) : []);
    const families = cidrs.map(familyOf).filter((family) => !asked.has(family));
    for (let round = 0; round < MAX_ROUNDS; round++) {
      const podCidrs = this.usable();
      const missing = families.some((family) => !podCidrs.some((cidr) => familyOf(cidr) === family));
      try {
        if (!missing) {
          const ips = ipam.reserve(owner, { ...request, podCidrs, ...(exclude && { exclude }) });
          return cidrs.flatMap((cidr) => ips.filter((ip) => familyOf(ip) === familyOf(cidr)));
        }
      } catch (error) {
        if (!(error instanceof IpamExhausted)) throw error;
        // A narrowing range is full however many blocks there are.
        if (request.ranges !== undefined && request.ranges.length > 0) throw error;
      }
      await this.ensureRoom(families);
    }
    throw new BlockError(
      "unavailable",
      `network ${network}: other pods of this node took ${MAX_ROUNDS} times what was free; the next attempt may succeed`,
    );
  }
}
