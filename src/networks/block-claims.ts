/**
 * Claiming blocks of a network for this node. What is claimed is what the API server has, and nothing here is remembered over a
 * restart: blocks of this node are found again by their labels, whether they were ever used or not.
 */
import { cidrsOverlap, type Family, familyOf, sha256 } from "../addr/index.ts";
import { ApiError, createObject, deleteObject, type KubeClient, listObjects } from "../kube/index.ts";
import {
  blockObject,
  type BlockOwner,
  freeBlocks,
  NETWORK_BLOCKS,
  NETWORK_LABEL,
  type NetworkBlock,
  parseBlock,
} from "./network-block.ts";

/** Other nodes may claim at the same moment; after so many lost races the next attempt is the caller's. */
const ATTEMPTS = 20;

/** There is nothing left to claim. */
export class BlocksExhausted extends Error {
  override readonly name = "BlocksExhausted";
}

/** What to claim from. */
export interface ClaimOptions extends BlockOwner {
  client: KubeClient;
  /** The network's CIDRs. */
  cidrs: readonly string[];
  /** Addresses a block, a power of two. */
  blockSize: number;
}

/** The blocks of one network that are this node's. */
export class BlockClaims {
  readonly #options: ClaimOptions;
  #mine: NetworkBlock[] = [];

  constructor(options: ClaimOptions) {
    this.#options = options;
  }

  /** This node's blocks, the oldest first: the first one of a family has the node's VTEP address. */
  get cidrs(): string[] {
    return this.#mine.map(({ cidr }) => cidr);
  }

  /** Takes up what this node has claimed before. @throws ApiError */
  async load(): Promise<void> {
    this.#adopt(await this.#all());
  }

  /**
   * Claims one more block of a family.
   * @throws BlocksExhausted; ApiError when the API server cannot be asked or lets others win every time
   */
  async claim(family: Family): Promise<string> {
    const { client, network, node, cidrs, blockSize } = this.#options;
    const cidr = cidrs.find((one) => familyOf(one) === family);
    if (cidr === undefined) throw new RangeError(`pod network "${network}" has no IPv${family} addresses`);
    const start = new DataView(sha256(node.name).buffer).getUint32(0);
    // Names that are taken by what is not listed as a block of this network.
    const refused: string[] = [];
    let failure: unknown;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      const all = await this.#all();
      const known = this.#mine.filter((one) => familyOf(one.cidr) === family).length;
      this.#adopt(all);
      // What was claimed without an answer, or before a crash, is ours all the same.
      const found = this.#mine.filter((one) => familyOf(one.cidr) === family);
      if (found.length > known) return (found.at(-1) as NetworkBlock).cidr;
      const taken = all.map((block) => block.cidr);
      const [next] = freeBlocks(cidr, blockSize, [...taken, ...refused], start);
      if (next === undefined) {
        throw new BlocksExhausted(
          `pod network "${network}" has no free block of ${blockSize} IPv${family} addresses left in ${cidr}: nodes have claimed ` +
            `${taken.filter((one) => familyOf(one) === family).length}; pods of it must go, or it needs a wider CIDR`,
        );
      }
      try {
        const block = parseBlock(await createObject(client, NETWORK_BLOCKS, blockObject({ network, node }, next)));
        if (await this.#holds(block)) return this.#add(block);
      } catch (error) {
        // 409: somebody else was quicker. No answer: the next look shows what came of it.
        if (!(error instanceof ApiError && (error.status === 409 || error.status === 0))) throw error;
        if (error.status === 409) refused.push(next);
        failure = error;
      }
    }
    throw failure;
  }

  /** Gives a block back; nobody may have an address of it any more. @throws ApiError; it is still ours then */
  async release(cidr: string): Promise<void> {
    const block = this.#mine.find((one) => one.cidr === cidr);
    if (!block) return;
    await deleteObject(this.#options.client, NETWORK_BLOCKS, block.name, block.uid);
    this.#mine = this.#mine.filter((one) => one !== block);
  }

  /**
   * Whether a block that was just made is nobody else's too. Names keep blocks of one size apart; where the network's block size
   * was changed, two of different sizes may overlap, and then the older one holds.
   */
  async #holds(block: NetworkBlock): Promise<boolean> {
    const others = (await this.#all()).filter(
      ({ name, cidr }) => name !== block.name && cidrsOverlap(cidr, block.cidr),
    );
    if (others.every((other) => older(block, other))) return true;
    await deleteObject(this.#options.client, NETWORK_BLOCKS, block.name, block.uid);
    return false;
  }

  #add(block: NetworkBlock): string {
    if (!this.#mine.some(({ name }) => name === block.name)) this.#mine.push(block);
    return block.cidr;
  }

  #adopt(all: readonly NetworkBlock[]): void {
    const { node } = this.#options;
    const ours = all.filter((block) => block.node === node.name);
    const known = new Set(this.#mine.map(({ name }) => name));
    const fresh = ours.filter(({ name }) => !known.has(name)).sort((a, b) => (older(a, b) ? -1 : 1));
    this.#mine = [...this.#mine.filter(({ name }) => ours.some((one) => one.name === name)), ...fresh];
  }

  /** Every block of the network. One that makes no sense is somebody's: it is left alone, and its name cannot be taken. */
  async #all(): Promise<NetworkBlock[]> {
    const { client, network } = this.#options;
    const items = await listObjects(client, NETWORK_BLOCKS, `${NETWORK_LABEL}=${network}`);
    return items.map(parseBlock).filter((block) => block.network === network);
  }
}

/** Whether `a` was made before `b`; by name where the API server's seconds do not tell. */
function older(a: NetworkBlock, b: NetworkBlock): boolean {
  const [x, y] = [Date.parse(a.creationTimestamp), Date.parse(b.creationTimestamp)];
  return x === y ? a.name < b.name : x < y;
}
