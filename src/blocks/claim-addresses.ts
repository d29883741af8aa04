/**
 * Addresses of claims in the blocks that are nobody's node: each block's object says which claim holds which address, and
 * is changed only by writing back what was read (its resourceVersion), so that of two who want one address one learns it.
 *
 * A block without {@link CREATED_ANNOTATION} was never used: its first user holds it against older ones that overlap and
 * writes the annotation with its address, so that nobody uses a block that may have to yield.
 */
import { bigIntToIp, cidrContains, cidrsOverlap, type Family, familyOf, ipToBigInt } from "../addr/index.ts";
import { podSpan } from "../ipam/index.ts";
import { ApiError } from "../kube/index.ts";
import { NETWORK_LABEL, NODE_LABEL } from "../networks/index.ts";
import { acquire, calling, olderOverlap, outcomeUnknown, remove } from "./acquire.ts";
import { blockCount, blockOf, freeBlocks } from "./candidates.ts";
import { BlockError } from "./errors.ts";
import {
  type Block,
  type BlockObjects,
  byCreation,
  keepingOrder,
  readBlock,
  readBlocks,
  type SeenBlock,
} from "./objects.ts";

/** How often a change is tried when others change the same block, or its answer is lost. */
const MAX_ATTEMPTS = 16;
/** Changed when an address is confirmed, so that whoever read the block before cannot free it. */
const TOUCHED_ANNOTATION = "skylane.dev/touched-version";

export interface ClaimAddressesOptions {
  network: string;
  cidrs: readonly string[];
  blockSize: number;
  objects: BlockObjects;
  /** All blocks of the network that the reflector shows; may be behind. */
  view: () => Iterable<SeenBlock>;
}

/** The addresses of one network's claims. */
export class ClaimAddresses {
  readonly #o: ClaimAddressesOptions;

  constructor(options: ClaimAddressesOptions) {
    this.#o = options;
  }

  /** The blocks of claims as they are now, oldest first. @throws BlockError `unavailable` */
  async blocks(): Promise<Block[]> {
    const { network, objects } = this.#o;
    const found = await calling(`cannot see the claims' blocks of network ${network}`, () =>
      objects.list(`${NETWORK_LABEL}=${network},!${NODE_LABEL}`),
    );
    return readBlocks(found)
      .filter((block) => block.node === "")
      .sort(byCreation);
  }

  /**
   * Gives a claim one address a family of the network: the asked-for one, the one that it holds already, or any free one.
   * @param holder "<namespace>/<claim>". @param fresh the claim does not know its addresses yet: what it holds is confirmed
   * @throws BlockError `refused` (another has it, or it is a node's), `exhausted`, `unavailable`
   */
  async hold(holder: string, asked: readonly string[], fresh: boolean): Promise<string[]> {
    const { network, cidrs } = this.#o;
    for (const ip of asked) this.#check(holder, ip);
    const ips: string[] = [];
    for (const cidr of cidrs) {
      const wanted = asked.find((ip) => cidrContains(cidr, ip));
      ips.push(
        await this.#trying(`claim ${holder} of network ${network}`, () =>
          wanted === undefined ? this.#any(holder, cidr, fresh) : this.#this(holder, cidr, wanted, fresh),
        ),
      );
    }
    return ips;
  }

  /**
   * Frees an address of a claim in the block as it was read: not when that has been changed since.
   * @returns whether it is free now. @throws BlockError `unavailable`
   */
  async free(block: Block, ip: string): Promise<boolean> {
    const { [ip]: _, ...addresses } = block.addresses;
    return (await this.#write(block, addresses)) !== undefined;
  }

  #check(holder: string, ip: string): void {
    const { network, cidrs } = this.#o;
    const cidr = cidrs.find((one) => cidrContains(one, ip));
    const value = ipToBigInt(ip);
    if (cidr !== undefined && podSpan(cidr).first <= value && value <= podSpan(cidr).last) return;
    const why = cidr === undefined ? `outside of the network's ${cidrs.join(", ")}` : `kept back in ${cidr}`;
    throw new BlockError("refused", `claim ${holder} asks network ${network} for ${ip}, which is ${why}`);
  }

  /** Any address of a family, or `undefined` when the block was changed under us. */
  async #any(holder: string, cidr: string, fresh: boolean): Promise<string | undefined> {
    const { network, blockSize, objects, view } = this.#o;
    const claims = await this.blocks();
    const blocks = claims.filter((block) => familyOf(block.cidr) === familyOf(cidr));
    for (const block of blocks) {
      const held = Object.entries(block.addresses).find(([, one]) => one === holder)?.[0];
      if (held !== undefined) return (await this.#put(block, held, holder, fresh)) ? held : undefined;
    }
    for (const block of blocks) {
      const ip = firstFree(block);
      if (ip !== undefined) return (await this.#put(block, ip, holder, fresh)) ? ip : undefined;
    }
    const existing = [...claims, ...view()].map((block) => block.cidr);
    let tried = 0;
    for (const free of freeBlocks(cidr, blockSize, existing, `${network}/claims`)) {
      // The same order for all nodes, so that they find the same block instead of making one each.
      const { outcome } = await acquire(objects, { network, node: "" }, free, blockSize);
      if (outcome !== "others" || ++tried === MAX_ATTEMPTS) return undefined; // and look again
    }
    throw new BlockError(
      "exhausted",
      `network ${network} has no address left for claim ${holder}: all ${blockCount(cidr, blockSize)} blocks of ${cidr}` +
        " are claimed; delete claims or pods, or give the network a larger CIDR (a new network)",
    );
  }

  /** The asked-for address. */
  async #this(holder: string, cidr: string, ip: string, fresh: boolean): Promise<string | undefined> {
    const { network, blockSize, objects, view } = this.#o;
    const claims = await this.blocks();
    const block = claims.find((one) => cidrContains(one.cidr, ip));
    if (block !== undefined) return (await this.#put(block, ip, holder, fresh)) ? ip : undefined;
    const wanted = blockOf(cidr, blockSize, ip);
    // What the view shows may be gone; if it is not, the name or the older block says so.
    const got = await acquire(objects, { network, node: "" }, wanted, blockSize);
    if (got.outcome !== "others") return undefined; // and find it among the claims' blocks
    const other = got.block ?? [...view()].find((one) => cidrsOverlap(one.cidr, wanted));
    if (other === undefined || other.node === "") return undefined;
    throw this.#nodes(holder, ip, other);
  }

  #nodes(holder: string, ip: string, block: SeenBlock): BlockError {
    return new BlockError(
      "refused",
      `claim ${holder} asks network ${this.#o.network} for ${ip}, which is in block ${block.cidr} of node ${block.node};` +
        " ask for an address that no node has a block of, or for none",
    );
  }

  /** Writes that a claim holds an address; false when the block was changed or is gone: look again. */
  async #put(block: Block, ip: string, holder: string, fresh: boolean): Promise<boolean> {
    const { objects, network } = this.#o;
    const now = block.addresses[ip];
    if (now !== undefined && now !== holder) {
      throw new BlockError("refused", `claim ${holder} asks network ${network} for ${ip}, which claim ${now} holds`);
    }
    if (now === holder && !fresh) return true;
    if (!block.settled) {
      const older = await olderOverlap(objects, block);
      if (older !== undefined) {
        await remove(objects, block);
        if (older.node !== "" && cidrContains(older.cidr, ip)) throw this.#nodes(holder, ip, older);
        return false;
      }
    }
    return (await this.#write(block, { ...block.addresses, [ip]: holder })) !== undefined;
  }

  async #write(block: Block, addresses: Readonly<Record<string, string>>): Promise<Block | undefined> {
    const object = keepingOrder(block);
    const annotations = {
      ...object.metadata.annotations,
      [TOUCHED_ANNOTATION]: object.metadata.resourceVersion ?? "",
    };
    const spec = { ...(object.spec as object), addresses };
    try {
      return readBlock(
        await this.#o.objects.replace({ ...object, metadata: { ...object.metadata, annotations }, spec }),
      );
    } catch (error) {
      if (error instanceof ApiError && (error.status === 409 || error.status === 404 || outcomeUnknown(error)))
        return undefined;
      return calling(`cannot write block ${block.cidr} of network ${block.network}`, () =>
        Promise.reject(error as Error),
      );
    }
  }

  async #trying<T>(what: string, attempt: () => Promise<T | undefined>): Promise<T> {
    for (let n = 0; n < MAX_ATTEMPTS; n++) {
      const result = await attempt();
      if (result !== undefined) return result;
    }
    throw new BlockError(
      "unavailable",
      `${what}: its block was changed by others ${MAX_ATTEMPTS} times, or the API server's answers were lost; it is tried again`,
    );
  }
}

function firstFree({ cidr, addresses }: Block): string | undefined {
  const { first, last } = podSpan(cidr);
  const family: Family = familyOf(cidr);
  for (let value = first; value <= last; value++) {
    const ip = bigIntToIp(value, family);
    if (!Object.hasOwn(addresses, ip)) return ip;
  }
  return undefined;
}
