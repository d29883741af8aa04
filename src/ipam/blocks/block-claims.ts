/**
 * The blocks of one network that one node claims as pods come and gives back as they go.
 *
 * What makes a crash, a lost answer or an old view harmless at any point:
 * - A block is used only after it was seen in the API as this node's, and held against older ones that overlap.
 * - It is given back in this order: retired on disk under the address management's lock while nothing of it is taken (from
 *   then on no process gives from it), then deleted with its uid. One that is retired and still there is deleted first,
 *   never used again; only a new object of the same name, with another uid, is. So a deletion that is done late hits nothing.
 * - What turns up as this node's (an agent's restart, a creation whose answer was lost) is taken up.
 */
import { cidrContains, type Family, familyOf } from "../../addr/index.ts";
import { acquire, calling, confirmed, olderOverlap, remove, tied } from "./acquire.ts";
import { blockCount, freeBlocks } from "./candidates.ts";
import { BlockError } from "./errors.ts";
import type { Block, Claimant, SeenBlock } from "./objects.ts";
import type { BlockClaimsOptions } from "./options.ts";
import { holderOf, judgeOrphan } from "./orphans.ts";
import { OwnBlocks } from "./own-blocks.ts";
import { surplusOf } from "./surplus.ts";
import { KeyedMutex } from "../../reconcile/index.ts";

/** Blocks that are tried for one; more than that many were taken by others since our view of them. */
const MAX_CANDIDATES = 64;

/** One network's blocks on one node. Methods run one after the other; `usable` is their latest outcome. */
export class BlockClaims {
  readonly #o: BlockClaimsOptions;
  /** Addresses in use here that were seen in claims' blocks: nobody need ask again where they belong. */
  #claimed: Set<string> = new Set();
  readonly #own = new OwnBlocks();
  /** What reads, asks the API and then writes must not meet itself half way: there is one at a time in the network. */
  readonly #mutex = new KeyedMutex();
  #retired = new Set<string>();
  readonly #told = new Set<string>();
  #outcome: string[] = [];

  constructor(options: BlockClaimsOptions) {
    this.#o = options;
    this.#retired = new Set(options.ipam.retired());
  }

  /** CIDRs of the blocks whose addresses pods of this node may have, oldest first: the first of a family has the VTEP. */
  usable(): string[] {
    return this.#outcome;
  }

  /** The same at this moment, with what is being claimed back left out. */
  #usable(): string[] {
    return this.#own
      .settled()
      .map(({ cidr }) => cidr)
      .filter((cidr) => !this.#retired.has(cidr));
  }

  /**
   * Takes up what the reflector shows as this node's, goes on with what was begun, and claims back what was deleted under
   * its pods. For an agent's start and for every change of the view; the other methods begin with it.
   * @throws BlockError `unavailable`
   */
  resume(): Promise<void> {
    return this.#run(() => this.#resume());
  }

  /**
   * The Node is another object now, or is gone: makes the blocks go with it as it is now, and claims those back that went with it
   * as it was. @throws BlockError `unavailable`
   */
  adopt(): Promise<void> {
    return this.#run(async () => {
      for (const block of this.#own.all()) {
        const now = await this.#tied(block);
        if (now === undefined) await this.#lost(block);
        else if (this.#own.get(block.cidr)?.uid === now.uid) this.#own.renew(now);
      }
      await this.#resume();
    });
  }

  /**
   * Sees that addresses which were just given are in blocks that are this node's at this moment, whatever the view shows; a block
   * that is not there any more is claimed back. @throws BlockError `unavailable`: an address is in no block of this node
   */
  async confirm(ips: readonly string[]): Promise<void> {
    const blocks = ips.flatMap((ip) => this.#blockWith(ip) ?? []);
    const known = await Promise.all(blocks.map((block) => confirmed(this.#o.objects, block)));
    if (known.filter((block) => block !== undefined).length === ips.length) return;
    await this.#run(async () => {
      for (const block of this.#own.all()) await this.#lost(block);
      await this.#resume();
    });
    const ip = ips.find((one) => this.#blockWith(one) === undefined);
    if (ip === undefined) return;
    throw new BlockError(
      "unavailable",
      `network ${this.#o.network}: the block of address ${ip} is not this node's any more; the pod's next attempt gets another address`,
    );
  }
  /**
   * Makes sure that each family has a usable block with a free address, and claims the next one where none has.
   * @throws BlockError `exhausted`, `unavailable`
   */
  ensureRoom(families: readonly Family[]): Promise<void> {
    return this.#run(async () => {
      await this.#resume();
      for (const family of families) if (!this.#hasRoom(family)) await this.#claimNext(family);
    });
  }

  /**
   * Gives back the blocks of which nothing is taken; returns them. The first block of a family stays, as the VTEP has its
   * address, and one empty block is kept for the next pod.
   * @throws BlockError `unavailable`: one is no longer used, and `resume` goes on with giving it back
   */
  releaseSurplus(): Promise<string[]> {
    return this.#run(async () => {
      await this.#resume();
      const given: string[] = [];
      for (let [cidr] = this.#surplus(); cidr !== undefined; [cidr] = this.#surplus()) {
        if (!(await this.#giveBack(cidr))) break;
        given.push(cidr);
      }
      return given;
    });
  }

  /**
   * The node leaves the network: gives all its blocks back, the first ones last; returns those that stay because
   * addresses of them are taken. @throws BlockError `unavailable`
   */
  leave(): Promise<string[]> {
    return this.#run(async () => {
      await this.#resume();
      const kept: string[] = [];
      for (const cidr of this.#usable().toReversed()) if (!(await this.#giveBack(cidr))) kept.push(cidr);
      return kept;
    });
  }

  /** One after the other; what is usable changes with their ends, not while a block that is gone is being claimed back. */
  #run<T>(work: () => Promise<T>): Promise<T> {
    return this.#mutex.run(this.#o.network, async () => {
      try {
        return await work();
      } finally {
        this.#outcome = this.#usable();
      }
    });
  }

  #who = (): Claimant => ({
    network: this.#o.network,
    networkUid: this.#o.networkUid,
    node: this.#o.node,
    nodeUid: this.#o.nodeUid(),
  });

  #tell(problem: string): void {
    if (this.#told.has(problem)) return;
    this.#told.add(problem);
    this.#o.onProblem?.(problem);
  }

  #hasRoom(family: Family): boolean {
    const blocks = this.#usable().filter((cidr) => familyOf(cidr) === family);
    return this.#o.ipam.usage(blocks, this.#o.exclude).some(({ used, total }) => BigInt(used) < total);
  }

  #blockWith(ip: string): Block | undefined {
    return this.#own.settled().find(({ cidr }) => !this.#retired.has(cidr) && cidrContains(cidr, ip));
  }

  #surplus(): string[] {
    const usable = this.#usable();
    return surplusOf(this.#o.cidrs.map(familyOf), this.#o.ipam.usage(usable));
  }

  async #resume(): Promise<void> {
    const { network, node, view, ipam } = this.#o;
    this.#retired = new Set(ipam.retired());
    const own = [...view()].filter((block) => block.network === network && block.node === node);
    for (const block of own) if (this.#isFormer(block) && ipam.retire(block.cidr)) this.#retired.add(block.cidr);
    for (const block of this.#own.see(own)) await this.#lost(block);
    for (const block of this.#own.all()) if (this.#retired.has(block.cidr)) await this.#delete(block);
    for (const block of this.#own.unsettled()) {
      const now = await this.#tied(block);
      if (now === undefined) this.#own.drop(block);
      else await this.#settle(now);
    }
    await this.#claimOrphans();
  }

  /** Whether a block is of a network that had this one's name before: no pod of this one gets an address of it. */
  #isFormer({ networkUid }: SeenBlock): boolean {
    const uid = this.#o.networkUid;
    return uid !== undefined && networkUid !== undefined && networkUid !== uid;
  }

  /** Uses a block, unless an older one overlaps it. @returns whether it is usable now */
  async #settle(block: Block): Promise<boolean> {
    const { objects, ipam, network } = this.#o;
    const older = await olderOverlap(objects, block);
    if (older === undefined) {
      this.#own.settle(block);
      return true;
    }
    if (ipam.retire(block.cidr)) this.#retired.add(block.cidr);
    await this.#delete(block);
    const { used = 0 } = ipam.usage([block.cidr])[0] ?? {};
    if (used === 0) return false;
    this.#tell(
      `network ${network}: block ${block.cidr} of this node overlapped ${older.cidr} of ${holderOf(older)}, which is older, and` +
        ` ${used} addresses of it are in use here; those pods must be made again`,
    );
    return false;
  }

  /** A block as it is now, going with the Node as that is now; undefined when it is not there. */
  async #tied(block: SeenBlock): Promise<Block | undefined> {
    const { objects, nodeUid } = this.#o;
    const now = await confirmed(objects, block);
    return now && (await tied(objects, now, nodeUid()));
  }

  /** Perhaps somebody deleted a block: it is forgotten if nothing of it is taken, otherwise claimed back for the pods in it. */
  async #lost(block: SeenBlock): Promise<void> {
    const { objects, ipam } = this.#o;
    if ((await confirmed(objects, block)) !== undefined) return;
    this.#own.drop(block);
    if (ipam.retire(block.cidr)) this.#retired.add(block.cidr);
  }

  /** Claims the blocks of addresses that are in use here and in no block at all: pods outlive their deletion. */
  async #claimOrphans(): Promise<void> {
    const { ipam, objects } = this.#o;
    const own = this.#own.all();
    const outside = ipam.list().filter(({ ip }) => !own.some((one) => cidrContains(one.cidr, ip)));
    this.#claimed = this.#claimed.intersection(new Set(outside.map(({ ip }) => ip)));
    const orphans = outside.filter(({ ip }) => !this.#claimed.has(ip));
    if (orphans.length === 0) return;
    const blocks = [...(await this.#taken()), ...own];
    for (const orphan of orphans) {
      const verdict = judgeOrphan(orphan, this.#o, blocks);
      if (verdict.claimed) this.#claimed.add(orphan.ip);
      if (verdict.problem !== undefined) this.#tell(verdict.problem);
      if (verdict.claim === undefined) continue;
      const gained = await acquire(objects, this.#who(), verdict.claim, this.#o.blockSize);
      if (gained.block !== undefined) blocks.push(gained.block);
      if (gained.outcome === "others") continue; // said above when the view has it
      this.#own.add(gained.block);
      await this.#settle(gained.block);
    }
  }

  /** The blocks of the network without those that are known to be gone. */
  async #taken(): Promise<SeenBlock[]> {
    const { network, taken } = this.#o;
    const all = await calling(`cannot see which blocks of network ${network} are taken`, taken);
    return [...all].filter(({ uid }) => !this.#own.isGone(uid));
  }

  async #claimNext(family: Family): Promise<void> {
    const { network, node, cidrs, objects, ipam } = this.#o;
    const cidr = cidrs.find((one) => familyOf(one) === family);
    if (cidr === undefined) throw new BlockError("refused", `network ${network} has no IPv${family} addresses`);
    const size = this.#o.blockSize;
    const existing = [...(await this.#taken()), ...this.#own.all()].map((b) => b.cidr);
    let tried = 0;
    for (const wanted of freeBlocks(cidr, size, existing, `${network}/${node}`)) {
      if (tried++ === MAX_CANDIDATES) {
        throw new BlockError(
          "unavailable",
          `network ${network}: other nodes had claimed ${MAX_CANDIDATES} blocks of ${cidr} that this node did not know of;` +
            " the next attempt sees more of them",
        );
      }
      let got = await acquire(objects, this.#who(), wanted, size);
      if (got.outcome === "found" && this.#retired.has(wanted)) {
        await remove(objects, got.block); // an earlier process began to: never use that object again
        this.#own.drop(got.block);
        got = await acquire(objects, this.#who(), wanted, size);
      }
      if (got.outcome === "others" || (got.outcome === "found" && this.#retired.has(wanted))) continue;
      this.#own.add(got.block);
      if (!(await this.#settle(got.block))) continue;
      ipam.admit(wanted);
      this.#retired.delete(wanted);
      if (this.#hasRoom(family)) return;
    }
    throw new BlockError(
      "exhausted",
      `network ${network} has no free block left in ${cidr}: all of its ${blockCount(cidr, size)} blocks of ${size} addresses` +
        " are claimed; remove pods, give the network a larger CIDR (a new network), or make its blockSize smaller",
    );
  }

  async #giveBack(cidr: string): Promise<boolean> {
    const block = this.#own.get(cidr);
    if (block === undefined || !this.#o.ipam.retire(cidr)) return false;
    this.#retired.add(cidr);
    await this.#delete(block);
    return true;
  }

  async #delete(block: SeenBlock): Promise<void> {
    await remove(this.#o.objects, block);
    this.#own.drop(block);
  }
}
