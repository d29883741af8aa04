/**
 * Addresses of claims, in blocks that are no node's. An entry of a block, address → NAMESPACE/NAME/UID, is the lock on the
 * address. Every change writes the block over the version that was read, so of two who want one address one looks again.
 *
 * Why no live claim loses an entry: one is replaced or removed only after its claim was looked for and found gone, or with
 * another address for good (`stillHolds`), both of which are final; and a block is deleted only in the version that was read
 * without entries. Why no address is in two blocks: a block's first entry is written only when no older block overlaps it
 * (`olderOverlap`), together with the annotation that keeps its place in the order of creation, and with the entries of all claims
 * whose status names an address of it: somebody may have deleted the block that had them.
 */
import { bigIntToIp, cidrContains, cidrsOverlap, familyOf, ipToBigInt } from "../../addr/index.ts";
import {
  acquire,
  type Block,
  blockCount,
  BlockError,
  blockOf,
  type BlockObjects,
  calling,
  freeBlocks,
  MAC_CIDR,
  olderOverlap,
  remove,
  type SeenBlock,
} from "../blocks/index.ts";
import { podSpan } from "../local/index.ts";
import type { IPClaimInfo } from "../../crd/index.ts";
import { claimBlocks, entriesByStatus, freeEntries, named, writeEntries } from "./entries.ts";
import { addressOf, entryOfMac, otherWithMac } from "./macs.ts";
import { type ClaimObjects, holderOf, holderText, stillHolds } from "./objects.ts";

/** How often one looks again because others changed the same blocks. */
const MAX_ATTEMPTS = 32;
/** Addresses of a claims' block at most: its object has all entries, some 100 bytes each, and must stay far below etcd's 1.5 MB. */
const MAX_BLOCK_SIZE = 1024;

export interface ClaimAddressesOptions {
  network: string;
  /** Canonical, one a family. */
  cidrs: readonly string[];
  /** Of the network, a power of two. */
  blockSize: () => number;
  blocks: BlockObjects;
  claims: Pick<ClaimObjects, "get" | "list">;
  /** Blocks of this network, all nodes' and claims'; may be behind. Asked for when one is claimed. Rejects with ApiError. */
  taken: () => Promise<Iterable<SeenBlock>>;
  /** Whether an endpoint of the network has the IP or MAC address: a claim may be deleted under its pod. */
  inUse: (address: string) => boolean | Promise<boolean>;
}

/** The addresses of one network's claims. */
export class ClaimAddresses {
  readonly #o: ClaimAddressesOptions;

  constructor(options: ClaimAddressesOptions) {
    this.#o = options;
  }

  /**
   * Makes sure that a claim has an entry for the MAC address that it asks for, and one a family of the network: for the address
   * in its status, the asked-for one, the one that it has an entry of already, its predecessor's of the same name, or any free one.
   * @returns the IP addresses in the order of the network's CIDRs. @throws BlockError `refused`, `exhausted`, `unavailable`
   */
  async hold(claim: IPClaimInfo): Promise<string[]> {
    this.#check(claim);
    const holder = holderText(claim);
    // First: an address for a claim whose MAC address is another's would be of no use.
    if (claim.mac !== undefined) await this.#holdMac(claim, claim.mac, holder);
    const ips: string[] = [];
    for (const cidr of this.#o.cidrs) {
      const known = [...claim.status.ips, ...claim.ips].find((ip) => cidrContains(cidr, ip));
      const avoid: string[] = [];
      const attempt = () =>
        known === undefined ? this.#any(holder, cidr, avoid) : this.#this(holder, cidr, known, avoid);
      ips.push(await this.#looking(claim, attempt));
    }
    return ips;
  }

  async #holdMac(claim: IPClaimInfo, mac: string, holder: string): Promise<void> {
    const { network, claims } = this.#o;
    if (claim.status.mac === undefined) {
      const doing = `cannot see which MAC addresses of network ${network} are claimed`;
      const other = otherWithMac(await calling(doing, () => claims.list()), claim, mac);
      if (other !== undefined) throw this.#taken(holder, mac, `IPClaim ${other.namespace}/${other.name} has`);
      // One that has an entry was judged before, and may be in use by the claim's own pod, or that of its predecessor.
      const entry = entryOfMac(mac);
      const known = (await this.#blockWith(entry))?.addresses[entry];
      if (known === undefined && (await this.#o.inUse(mac)))
        throw this.#taken(holder, mac, "a pod without a claim has");
    }
    const avoid: string[] = [];
    await this.#looking(claim, () => this.#this(holder, MAC_CIDR, entryOfMac(mac), avoid));
  }

  /** @param whose who has it, with the verb */
  #taken(holder: string, address: string, whose: string): BlockError {
    const what = `IPClaim ${named(holder)} is to have ${address} of network ${this.#o.network}`;
    return new BlockError("refused", `${what}, which ${whose}; ask for another address, or delete that one`);
  }

  #check({ namespace, name, ips, status }: IPClaimInfo): void {
    const { network, cidrs } = this.#o;
    const what = `IPClaim ${namespace}/${name}`;
    for (const ip of [...status.ips, ...ips]) {
      const cidr = cidrs.find((one) => cidrContains(one, ip));
      const [value, span] = [ipToBigInt(ip), cidr === undefined ? undefined : podSpan(cidr)];
      if (span !== undefined && span.first <= value && value <= span.last) continue;
      const why = cidr === undefined ? `outside of its ${cidrs.join(" and ")}` : `none that a pod of ${cidr} can have`;
      throw new BlockError("refused", `${what} has or asks for ${ip} in network ${network}, which is ${why}`);
    }
    const other = ips.find((ip) => status.ips.some((has) => has !== ip && familyOf(has) === familyOf(ip)));
    if (other === undefined) return;
    throw new BlockError(
      "refused",
      `${what} has ${status.ips.join(" and ")} and asks for ${other} now; a claim keeps its addresses: delete it and make another`,
    );
  }

  /** The claims' blocks as they are now, the lowest first. */
  #blocks(): Promise<Block[]> {
    return claimBlocks(this.#o.blocks, this.#o.network);
  }

  /** The claims' block with an address, as it is now. */
  async #blockWith(ip: string): Promise<Block | undefined> {
    return (await this.#blocks()).find(({ cidr }) => cidrContains(cidr, ip));
  }

  /** A certain address; undefined: look again. @param avoid as {@link #any} has it */
  async #this(holder: string, cidr: string, ip: string, avoid: string[]): Promise<string | undefined> {
    const { network, blocks } = this.#o;
    const yieldTo = (other: Block): void => {
      avoid.push(other.cidr);
      if (other.node === "" || !cidrContains(other.cidr, ip)) return;
      throw new BlockError(
        "refused",
        `IPClaim ${named(holder)} is to have ${ip} of network ${network}, but block ${other.cidr} is node ${other.node}'s; ask for` +
          " an address that is in no node's block (kubectl get networkblocks), or for none",
      );
    };
    const block = await this.#blockWith(ip);
    if (block !== undefined) return (await this.#enter(block, ip, holder, yieldTo)) ? ip : undefined;
    // Beside a block of another size there is room for a smaller one only.
    let size = this.#size();
    while (size > 1 && avoid.some((other) => cidrsOverlap(other, blockOf(cidr, size, ip)))) size /= 2;
    const got = await acquire(blocks, { network, node: "" }, blockOf(cidr, size, ip), size);
    if (got.outcome === "others" && got.block !== undefined) yieldTo(got.block);
    return undefined; // and find it among the blocks
  }

  /** Any address; undefined: look again. @param avoid blocks that are in the way and that nobody showed */
  async #any(holder: string, cidr: string, avoid: string[]): Promise<string | undefined> {
    const { network, taken, blocks: objects } = this.#o;
    const blocks = (await this.#blocks()).filter((one) => cidrsOverlap(one.cidr, cidr));
    const older = (other: Block): void => void avoid.push(other.cidr);
    for (const block of blocks) {
      const own = Object.keys(block.addresses).find((ip) => block.addresses[ip] === holder);
      if (own !== undefined) return own;
    }
    for (const block of blocks) {
      for (const [ip, other] of Object.entries(block.addresses)) {
        if (named(other) !== named(holder) || (await this.#stillHolds(other, ip))) continue;
        return (await this.#enter(block, ip, holder, older)) ? ip : undefined;
      }
    }
    for (const block of blocks) {
      const ip = firstFree(block);
      if (ip !== undefined) return (await this.#enter(block, ip, holder, older)) ? ip : undefined;
    }
    const freed = await freeEntries(blocks, { ...this.#o, inUse: async () => this.#o.inUse });
    if (freed.length > 0) return undefined;
    const size = this.#size();
    const others = await calling(`cannot see the blocks of network ${network}`, taken);
    const existing = [...[...blocks, ...others].map((one) => one.cidr), ...avoid];
    // The same order on all nodes, so that they find the same block instead of making one each.
    for (const free of freeBlocks(cidr, size, existing, `${network}/claims`)) {
      const { outcome } = await acquire(objects, { network, node: "" }, free, size);
      if (outcome === "others") avoid.push(free);
      return undefined; // and find it among the blocks
    }
    throw new BlockError(
      "exhausted",
      `network ${network} has no address left for IPClaim ${named(holder)}: all ${blockCount(cidr, size)} blocks of ${cidr} are` +
        " claimed; delete claims or pods, or make another network with a larger CIDR",
    );
  }

  /**
   * Enters a claim as the holder of an address; whether it is entered: the block was changed or is gone otherwise.
   * @param older told of an older block that this one had to yield to. @throws BlockError `refused`: another claim has it
   */
  async #enter(block: Block, ip: string, holder: string, older: (other: Block) => void): Promise<boolean> {
    const { network, blocks, claims, inUse } = this.#o;
    const now = block.addresses[ip];
    if (now === holder) return true;
    if (now !== undefined) {
      const held = await this.#stillHolds(now, ip);
      if (held || (named(now) !== named(holder) && (await inUse(addressOf(ip))))) {
        const whose = held ? `IPClaim ${named(now)} has` : `a pod still has, though its IPClaim ${named(now)} is gone`;
        throw this.#taken(holder, addressOf(ip), whose);
      }
    }
    if (!block.settled) {
      const other = await olderOverlap(blocks, block);
      if (other !== undefined) {
        // Only as it was read: somebody may have settled it since, the other one being gone.
        await remove(blocks, block, block.resourceVersion);
        older(other);
        return false;
      }
      const doing = `cannot see which claims have addresses of block ${block.cidr} of network ${network}`;
      const entries = entriesByStatus(await calling(doing, () => claims.list()), block, holder);
      const isFree = entries[ip] === undefined || entries[ip] === holder;
      const written = await writeEntries(blocks, block, isFree ? { ...entries, [ip]: holder } : entries);
      return written && isFree; // otherwise look again, at who has it
    }
    return writeEntries(blocks, block, { ...block.addresses, [ip]: holder });
  }

  /** Whether an entry's claim has the address still, or again: asked after the block was read. */
  async #stillHolds(entry: string, ip: string): Promise<boolean> {
    const { namespace, name, uid } = holderOf(entry);
    const object = await calling(`cannot see whether IPClaim ${named(entry)} still has ${addressOf(ip)}`, () =>
      this.#o.claims.get(namespace, name),
    );
    return stillHolds(object, uid, ip);
  }

  async #looking<T>({ namespace, name }: IPClaimInfo, attempt: () => Promise<T | undefined>): Promise<T> {
    for (let n = 0; n < MAX_ATTEMPTS; n++) {
      const result = await attempt();
      if (result !== undefined) return result;
    }
    throw new BlockError(
      "unavailable",
      `IPClaim ${namespace}/${name}: others changed the blocks of network ${this.#o.network} ${MAX_ATTEMPTS} times; it is tried` +
        " again with the pod's next attempt",
    );
  }

  #size = (): number => Math.min(this.#o.blockSize(), MAX_BLOCK_SIZE);
}

function firstFree({ cidr, addresses }: Block): string | undefined {
  const { first, last } = podSpan(cidr);
  for (let value = first; value <= last; value++) {
    const ip = bigIntToIp(value, familyOf(cidr));
    if (!Object.hasOwn(addresses, ip)) return ip;
  }
  return undefined;
}
