/**
 * Who touched a table of ours. The kernel announces every transaction with its generation (watch.ts); the owner of the table notes which it has made
 * itself, and asks, while none is under way, whether there were others. A transaction is announced before the call that made it has
 * returned, and may be heard of before or after its owner knows its generation: so it is judged only when asked.
 */
import { type NftTransaction, recordTransactions } from "./watch.ts";

/** See the header. */
export class WatchedTable {
  readonly #netns: number | string | undefined;
  readonly #names: readonly string[];
  /** Generations of our transactions that were not heard of yet. */
  readonly #made = new Set<number>();
  /** Generations of transactions that touched the table and were not judged yet. */
  #touched: number[] = [];
  /** That of the last one that put the table in place whole, where the owner has said so. */
  #whole: number | undefined;

  /** @param names the table's, "inet skylane"; several that are put in place together are one here */
  constructor(netns: number | string | undefined, ...names: readonly string[]) {
    this.#netns = netns;
    this.#names = names;
  }

  /** Takes note of transactions that were announced. */
  notice(transactions: readonly NftTransaction[]): void {
    for (const { generation, tables } of transactions) if (this.#isOf(tables)) this.#touched.push(generation);
  }

  /** We have made a transaction; undefined where nothing was changed. */
  made(generation: number | undefined): void {
    if (generation !== undefined) this.#made.add(generation);
  }

  /**
   * Runs something that makes one in the table. The first of several that are announced meanwhile is taken for ours: at worst the table is put in
   * place once more.
   * @returns its generation; undefined when the kernel had to drop some of the news. @throws SysError, and what `action` rejects with
   */
  async making(action: () => Promise<void>): Promise<number | undefined> {
    const seen = await recordTransactions(this.#netns, action);
    const own = seen?.find(({ tables }) => this.#isOf(tables))?.generation;
    this.made(own);
    return own;
  }

  /** A transaction of ours has put the table in place whole: what was before is overwritten, and no concern any more. */
  overwritten(generation: number | undefined): void {
    this.#whole = generation;
    if (generation === undefined) this.#made.clear();
    else for (const one of this.#made) if (!isAfter(one, generation)) this.#made.delete(one);
  }

  /** Whether somebody else has touched it since this was asked last. */
  touchedByOthers(): boolean {
    const touched = this.#touched;
    this.#touched = [];
    // Each of ours is announced as well; all are looked up, so that none is left in memory.
    const others = touched.filter((generation) => !this.#made.delete(generation));
    return others.some((generation) => this.#whole === undefined || isAfter(generation, this.#whole));
  }

  #isOf(tables: ReadonlySet<string>): boolean {
    return this.#names.some((name) => tables.has(name));
  }
}

/** Generations wrap around at 32 bits. */
const isAfter = (generation: number, other: number): boolean => ((generation - other) | 0) > 0;
