/**
 * The blocks that are this node's, as far as is known: those that the API shows, those that it does not show yet since they
 * are too new, without those that it still shows though they were given back.
 */
import { byCreation, type Block } from "./objects.ts";

interface Own {
  block: Block;
  /** No older block overlaps it: pods may have its addresses. */
  settled: boolean;
  /** The reflector has shown it; that it shows it no more means that somebody deleted it. */
  shown: boolean;
}

/** One network's blocks of this node, by CIDR. */
export class OwnBlocks {
  readonly #blocks = new Map<string, Own>();
  /** uids of deleted ones that the reflector may still show. */
  readonly #gone = new Set<string>();

  /**
   * Takes in what the reflector shows of this node's blocks.
   * @returns those that it showed before and does not any more.
   */
  see(view: readonly Block[]): Block[] {
    const shown = new Map(view.map((block) => [block.uid, block]));
    for (const uid of this.#gone) if (!shown.has(uid)) this.#gone.delete(uid);
    for (const block of view) {
      if (this.#gone.has(block.uid)) continue;
      const known = this.#blocks.get(block.cidr);
      if (known?.block.uid === block.uid) known.shown = true;
      else if (known === undefined) this.#blocks.set(block.cidr, { block, settled: false, shown: true });
    }
    return [...this.#blocks.values()].filter((own) => own.shown && !shown.has(own.block.uid)).map(({ block }) => block);
  }

  add(block: Block): void {
    this.#blocks.set(block.cidr, { block, settled: false, shown: false });
  }

  settle(block: Block): void {
    const own = this.#blocks.get(block.cidr);
    if (own?.block.uid !== block.uid) return;
    own.block = block;
    own.settled = true;
  }

  /** It was deleted. */
  drop({ cidr, uid }: Block): void {
    if (this.#blocks.get(cidr)?.block.uid === uid) this.#blocks.delete(cidr);
    this.#gone.add(uid);
  }

  get(cidr: string): Block | undefined {
    return this.#blocks.get(cidr)?.block;
  }

  /** All, oldest first. */
  all(): Block[] {
    return [...this.#blocks.values()].map(({ block }) => block).sort(byCreation);
  }

  unsettled(): Block[] {
    return this.all().filter(({ cidr }) => this.#blocks.get(cidr)?.settled !== true);
  }

  settled(): Block[] {
    return this.all().filter(({ cidr }) => this.#blocks.get(cidr)?.settled === true);
  }

  isGone(uid: string): boolean {
    return this.#gone.has(uid);
  }
}
