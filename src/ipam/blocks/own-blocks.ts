/**
 * The blocks that are this node's, as far as is known: those that the API shows, those that it does not show yet since they
 * are too new, without those that it still shows though they were given back.
 */
import { type Block, byCreation, type SeenBlock } from "./objects.ts";

interface Own {
  seen: SeenBlock;
  /** Once no older block overlaps it: pods may have its addresses. */
  settled?: Block;
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
  see(view: readonly SeenBlock[]): SeenBlock[] {
    const shown = new Map(view.map((block) => [block.uid, block]));
    for (const uid of this.#gone) if (!shown.has(uid)) this.#gone.delete(uid);
    for (const seen of view) {
      if (this.#gone.has(seen.uid)) continue;
      const known = this.#blocks.get(seen.cidr);
      if (known?.seen.uid === seen.uid) known.shown = true;
      else if (known === undefined) this.#blocks.set(seen.cidr, { seen, shown: true });
    }
    return [...this.#blocks.values()].filter((own) => own.shown && !shown.has(own.seen.uid)).map(({ seen }) => seen);
  }

  add(seen: SeenBlock): void {
    this.#blocks.set(seen.cidr, { seen, shown: false });
  }

  /** It was changed, and is what it was. */
  renew(block: Block): void {
    const own = this.#blocks.get(block.cidr);
    if (own?.settled !== undefined) own.settled = block;
  }

  settle(block: Block): void {
    const own = this.#blocks.get(block.cidr);
    if (own?.seen.uid === block.uid) own.settled = block;
  }

  /** It was deleted. */
  drop({ cidr, uid }: SeenBlock): void {
    if (this.#blocks.get(cidr)?.seen.uid === uid) this.#blocks.delete(cidr);
    this.#gone.add(uid);
  }

  get(cidr: string): SeenBlock | undefined {
    return this.#blocks.get(cidr)?.seen;
  }

  all(): SeenBlock[] {
    return [...this.#blocks.values()].map(({ seen }) => seen);
  }

  unsettled(): SeenBlock[] {
    return [...this.#blocks.values()].filter(({ settled }) => settled === undefined).map(({ seen }) => seen);
  }

  /** Those that pods may have addresses of, oldest first. */
  settled(): Block[] {
    return [...this.#blocks.values()].flatMap(({ settled }) => settled ?? []).sort(byCreation);
  }

  /** Whether it was deleted, though the reflector may show it still. */
  isGone(uid: string): boolean {
    return this.#gone.has(uid);
  }
}
