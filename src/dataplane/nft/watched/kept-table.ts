/**
 * A table of ours that is kept in place: put there whole with what is wanted, again when that is otherwise, and again whenever somebody else has
 * touched it.
 */
import type { Logger } from "../../../log/index.ts";
import { LONGEST_REST_MS, RepairRest, Task } from "../../../reconcile/index.ts";
import { isThere } from "../presence.ts";
import { type RunTool, toolRunner } from "../run.ts";
import { applyRuleset, removeTables } from "../table.ts";
import { NftWatch } from "./watch.ts";
import { WatchedTable } from "./watched-table.ts";

/** By name it costs no thread of the pool. */
const OWN_NETNS = "/proc/thread-self/ns/net";
const RETRY = { baseMs: 100, maxMs: 10_000 } as const;

export interface KeptTableOptions {
  /** Its name; it is of family inet. */
  table: string;
  /** Descriptor of the namespace that it is in; the process's own by default. */
  netns?: number;
  log: Logger;
  /** Runs nft. */
  run?: RunTool | undefined;
  /** The transaction that puts it in place as it is to be now, whatever is there; undefined where there is to be none. Asked at each attempt. */
  render: () => string | undefined;
  /** Whether what somebody else does to it is none of theirs to do; it is by default. The table is put in place in any case. */
  isDrift?: () => boolean;
  /** It is in place as it was rendered last. @param repaired since somebody had changed it */
  onPut?: (repaired: boolean) => void;
  /** It could not be put in place, or taken away; it is tried again. */
  onFailed?: (error: unknown) => void;
  /** What somebody had changed is as it was. */
  onRepair: () => void;
}

/** See the header. */
export class KeptTable {
  readonly #options: KeptTableOptions;
  readonly #name: string;
  readonly #run: RunTool;
  readonly #task: Task;
  readonly #watched: WatchedTable;
  readonly #netns: number | undefined;
  readonly #rest = new RepairRest();
  #watch: NftWatch | undefined;
  /** There is to be none. */
  #unwanted = false;
  #drifted = false;
  #inPlace = false;
  #error: string | undefined;

  constructor(options: KeptTableOptions) {
    this.#options = options;
    this.#name = `inet ${options.table}`;
    this.#netns = options.netns;
    this.#run = options.run ?? toolRunner({ netns: options.netns });
    this.#watched = new WatchedTable(options.netns, this.#name);
    this.#task = new Task(
      () => this.#apply(),
      RETRY,
      (error) => this.#failed(error),
    );
  }

  /** Whether it is as it was wanted last, as far as is known. */
  get inPlace(): boolean {
    return this.#inPlace;
  }

  /** Why it is not, where nft or the kernel says so. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Whether it is being put in place at this moment. */
  get running(): boolean {
    return this.#task.running;
  }

  /** Whether the kernel has it, whoever put it there; undefined where it does not say. @throws SysError */
  isThere(): boolean | undefined {
    return isThere({ family: "inet", table: this.#options.table }, this.#netns);
  }

  /** It is to be otherwise. */
  want(): void {
    this.#task.want();
  }

  /** The same, and resolves when that was tried. */
  async putNow(): Promise<void> {
    this.#task.wantAtOnce();
    await this.#task.settled();
  }

  /** Resolves when no attempt is under way, whether the last one succeeded or not. */
  settled(): Promise<void> {
    return this.#task.settled();
  }

  /** Stops, and leaves it as it is. */
  async stop(): Promise<void> {
    await Promise.all([this.#task.stop(), this.#watch?.close()]);
  }

  async #apply(): Promise<void> {
    const { log, run, render, onPut, onRepair } = this.#options;
    const text = render();
    this.#unwanted = text === undefined;
    if (text === undefined) {
      this.#inPlace = false;
      // Who runs nft otherwise may do so in another kernel.
      if (run !== undefined || this.isThere() !== false)
        await this.#watched.making(async () => void (await removeTables(this.#run, [this.#name])));
      return;
    }
    this.#watch ??= NftWatch.open({
      netns: this.#netns ?? OWN_NETNS,
      onTransactions: (transactions) => {
        this.#watched.notice(transactions);
        if (!this.#task.running) this.#judge();
      },
      onLost: (reason) => {
        log.debug("notifications of the packet filter were lost", { reason });
        this.#task.want(LONGEST_REST_MS);
      },
    });
    const drifted = this.#drifted;
    this.#drifted = false;
    try {
      const own = await this.#watched.making(() => applyRuleset(this.#run, text));
      if (own === undefined) this.#task.want(LONGEST_REST_MS);
    } catch (error) {
      this.#drifted ||= drifted;
      throw error;
    }
    this.#inPlace = true;
    this.#error = undefined;
    onPut?.(drifted);
    if (drifted) {
      this.#rest.repaired();
      log.warn(`table ${this.#name} was changed by somebody else and is put back`);
      onRepair();
    }
    this.#judge();
  }

  /** Whether anybody else has touched it. */
  #judge(): void {
    if (!this.#watched.touchedByOthers() || this.#unwanted) return;
    this.#drifted = this.#options.isDrift?.() ?? true;
    this.#task.want(this.#rest.ms);
  }

  #failed(error: unknown): void {
    const { log, onFailed } = this.#options;
    const message = error instanceof Error ? error.message : String(error);
    if (message !== this.#error) log.error(`table ${this.#name} cannot be put in place; it is tried again`, { error });
    this.#error = message;
    this.#inPlace = false;
    onFailed?.(error);
  }
}
