/** Keeps the table of encryption in place: any transaction of somebody else's that touches it is answered by putting it in place whole. */
import type { Logger } from "../../log/index.ts";
import { LONGEST_REST_MS, RepairRest, Task } from "../../reconcile/index.ts";
import { applyRuleset, NftWatch, type RunTool, toolRunner, WatchedTable } from "../nft/index.ts";
import { ENCRYPTION_NFT_TABLE, type EncryptionRules, renderEncryption } from "./table.ts";

const OWN_TABLE = `inet ${ENCRYPTION_NFT_TABLE}`;
const OWN_NETNS = "/proc/thread-self/ns/net";
const RETRY = { baseMs: 100, maxMs: 10_000 } as const;

/** See the header. */
export class EncryptionFilter {
  readonly #log: Logger;
  readonly #onRepair: () => void;
  readonly #run: RunTool = toolRunner();
  readonly #task: Task;
  readonly #rest = new RepairRest();
  readonly #watched = new WatchedTable(undefined, OWN_TABLE);
  #watch: NftWatch | undefined;
  #wanted: string | undefined;
  #applied: string | undefined;
  #drifted = false;
  #error: string | undefined;

  constructor(log: Logger, onRepair: () => void) {
    this.#log = log;
    this.#onRepair = onRepair;
    this.#task = new Task(
      () => this.#apply(),
      RETRY,
      (error) => this.#failed(error),
    );
  }

  /** The table is to be this. */
  set(rules: EncryptionRules): void {
    this.#wanted = renderEncryption(rules);
    if (this.#wanted !== this.#applied) this.#task.want();
  }

  /** Why the table is not in place; undefined where it is. */
  get error(): string | undefined {
    return this.#error ?? (this.#applied === undefined ? "not put in place yet" : undefined);
  }

  /** Resolves when no attempt is under way, whether the last one succeeded or not. */
  settled(): Promise<void> {
    return this.#task.settled();
  }

  /** Stops, and leaves the table as it is. */
  async stop(): Promise<void> {
    await Promise.all([this.#task.stop(), this.#watch?.close()]);
  }

  async #apply(): Promise<void> {
    const text = this.#wanted;
    if (text === undefined) return;
    this.#watch ??= NftWatch.open({
      netns: OWN_NETNS,
      onTransactions: (transactions) => {
        this.#watched.notice(transactions);
        if (!this.#task.running) this.#judge();
      },
      onLost: () => this.#task.want(LONGEST_REST_MS),
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
    this.#applied = text;
    this.#error = undefined;
    if (drifted) {
      this.#rest.repaired();
      this.#log.warn(`table ${OWN_TABLE} was changed by somebody else and is put back`);
      this.#onRepair();
    }
    this.#judge();
    if (this.#wanted !== text) this.#task.want();
  }

  #judge(): void {
    if (!this.#watched.touchedByOthers()) return;
    this.#drifted = true;
    this.#task.want(this.#rest.ms);
  }

  #failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (message !== this.#error)
      this.#log.error(`table ${OWN_TABLE} cannot be put in place; it is tried again`, { error });
    this.#error = message;
    this.#applied = undefined;
  }
}
