/**
 * The rules of network policies in the kernel of this node: what is told of pods and policies goes through the model into the table, in
 * order, many changes at once where they come faster than the kernel takes them, and what somebody else does to the table is put right.
 *
 * Until {@link EnforcedRules.begin} the model learns and the kernel keeps what an agent before this one left there.
 */
import { NftWatch } from "../dataplane/nft/index.ts";
import type { Logger } from "../log/index.ts";
import { type Changes, HELD_CHAIN, POLICY_TABLE, PolicyModel, PolicyTable, type Revocation } from "../policy/index.ts";
import { RepairRest, Task } from "../reconcile/index.ts";
import type { Occasion } from "./connections.ts";
import { mergeChanges } from "./merge-changes.ts";

/** Kinds of pods whose rules stay in the kernel when the last such pod has gone, in each direction and family: new rules are a process, and 50 ms. */
const KEPT_PROFILES = 128;

const OWN_TABLE = `inet ${POLICY_TABLE}`;

export interface EnforcedRulesOptions {
  log: Logger;
  /** Network namespace of the table; the agent's own by default. */
  netns?: number | undefined;
  nodeName: string;
  /** Where most pods of the cluster have their addresses, if that is known. */
  podCidrs: readonly string[];
  /** Connections that may not be allowed any more, and why; the rules that say so are in the kernel, and who waits for them has no answer yet. */
  onRevoked: (revocations: readonly Revocation[], occasion: Occasion) => void;
  /** Whether the rules are in force has changed, or whether answers are held. */
  onState: () => void;
  onRepair: () => void;
  /** Changes are in the kernel; the first of them was told of so many seconds before. */
  onApplied?: (seconds: number) => void;
}

/** See the header. */
export class EnforcedRules {
  readonly model: PolicyModel;
  readonly #options: EnforcedRulesOptions;
  readonly #table: PolicyTable;
  readonly #task: Task;
  #watch: NftWatch | undefined;
  #pending: Changes[] = [];
  /** What the changes have been about that are not in the kernel yet; undefined where there are none. */
  #occasion: Occasion | undefined;
  /** When the first of those was told of that are not in the kernel yet, in milliseconds. */
  #since: number | undefined;
  /** Connections to be judged once the rules that ended them are in the kernel, and what those changes were about. */
  #revocations: Revocation[] = [];
  #revokedBy: Occasion | undefined;
  /** Number of the last change that was told of. */
  #told = 0;
  #appliedOnce = false;
  #waiting: { change: number; resolve: () => void }[] = [];
  #begun = false;
  /** What the kernel has is not what we put there last, or not known. */
  #whole = true;
  /** There may be a table of ours. */
  #there = true;
  #drifted = false;
  /** The kernel hands over answers of DNS servers. */
  #holding = false;
  readonly #rest = new RepairRest();
  #error: string | undefined;

  constructor(options: EnforcedRulesOptions) {
    this.#options = options;
    const { log, netns, nodeName, podCidrs } = options;
    this.model = new PolicyModel(nodeName, podCidrs, KEPT_PROFILES);
    this.#table = new PolicyTable({
      netns,
      onLimited: (what) => log.warn(what),
      onRefused: (error) =>
        log.warn("the kernel refuses a change of the rules of network policies; they are put in place whole", {
          error,
        }),
    });
    this.#task = new Task(
      () => this.#apply(),
      { baseMs: 100, maxMs: 10_000 },
      (error) => this.#failed(error),
    );
  }

  /** Whether the kernel has the rules, and takes what changes of them. */
  get inForce(): boolean {
    return this.#appliedOnce && this.#error === undefined;
  }

  /** Whether the kernel has rules of ours. */
  get standing(): boolean {
    return this.#there && this.#appliedOnce;
  }

  /** Whether the kernel has no table of ours. */
  get clean(): boolean {
    return !this.#there;
  }

  /** Whether answers of DNS servers are to be read: pods here have rules with domain names. */
  get holdsAnswers(): boolean {
    return this.#there && this.model.ruleset.chains.has(HELD_CHAIN);
  }

  /** Why answers cannot be held; undefined where they can. */
  get unheld(): string | undefined {
    return this.#table.unheld;
  }

  /** Why they are not, where the kernel or nft says so. */
  get error(): string | undefined {
    return this.#error;
  }

  get #state(): string {
    return `${this.inForce} ${this.#there} ${this.#holding} ${this.unheld ?? ""}`;
  }

  /**
   * Everything has been told that there is: from now on the kernel has the rules of it.
   * @param clean the kernel is known to have no table of ours
   * @throws SysError when changes of the packet filter cannot be watched
   */
  begin(clean = false): void {
    if (this.#begun) return;
    const { log, netns } = this.#options;
    this.#watch = NftWatch.open({
      netns,
      onTransactions: (transactions) => {
        this.#table.watched.notice(transactions);
        if (!this.#task.running) this.#judge();
      },
      onLost: (reason) => {
        log.debug("notifications of the packet filter were lost", { reason });
        this.#whole = true;
        this.#task.want(this.#rest.ms);
      },
    });
    this.#begun = true;
    if (clean) this.#there = false;
    this.#task.want();
  }

  /**
   * Tells of a change. Resolves when the kernel has it, as soon as it may have anything.
   * @param occasion a pod that comes waits for it: it is not put off for what else may come in this millisecond
   */
  change(changes: Changes, occasion: Occasion = "change"): Promise<void> {
    this.#pending.push(changes);
    this.#occasion = bothOf(this.#occasion, occasion);
    this.#since ??= performance.now();
    const change = ++this.#told;
    if (occasion === "coming") this.#task.wantAtOnce();
    else this.#task.want();
    return new Promise((resolve) => this.#waiting.push({ change, resolve }));
  }

  /** Stops, and leaves the rules in the kernel as they are. */
  async stop(): Promise<void> {
    await this.#task.stop();
    await this.#watch?.close();
    this.#table[Symbol.dispose]();
  }

  /** Takes the rules out of the kernel, after the stop. @throws NftError */
  async remove(): Promise<void> {
    if (this.#begun && this.#there) await this.#table.remove();
    this.#there = false;
  }

  async #apply(): Promise<void> {
    const pending = this.#pending;
    const change = this.#told;
    const since = this.#since;
    const occasion = this.#occasion;
    this.#pending = [];
    this.#occasion = undefined;
    const { rules, revocations } = this.model.change(mergeChanges(pending));
    // One by one: there may be too many for the arguments of one call.
    for (const one of revocations) this.#revocations.push(one);
    if (revocations.length > 0 && occasion !== undefined) this.#revokedBy = bothOf(this.#revokedBy, occasion);
    if (!this.#begun) return;
    const [whole, drifted] = [this.#whole, this.#drifted];
    const before = this.#state;
    this.#whole = true;
    if (this.model.idle) {
      if (this.#there) await this.#table.remove();
      this.#there = false;
    } else if (whole || !this.#there) {
      this.#there = true;
      await this.#table.put(this.model.ruleset);
    } else await this.#table.apply(this.model.ruleset, rules);
    this.#holding = this.holdsAnswers;
    this.#whole = false;
    this.#drifted = false;
    this.#appliedOnce = true;
    this.#error = undefined;
    if (drifted) {
      this.#repaired();
      // What has begun meanwhile would pass for good: it is known to connection tracking.
      for (const one of this.model.enforced()) this.#revocations.push(one);
      this.#revokedBy = "change";
    }
    // What came meanwhile is told of with what is in the kernel next.
    this.#since = this.#pending.length > 0 ? performance.now() : undefined;
    if (since !== undefined) this.#options.onApplied?.((performance.now() - since) / 1_000);
    this.#waiting = this.#waiting.filter(({ change: one, resolve }) => {
      if (one > change) return true;
      resolve();
      return false;
    });
    const [revoked, revokedBy = "change"] = [this.#revocations, this.#revokedBy];
    this.#revocations = [];
    this.#revokedBy = undefined;
    if (revoked.length > 0) this.#options.onRevoked(revoked, revokedBy);
    if (before !== this.#state) this.#options.onState();
    this.#judge();
  }

  /** Whether anybody else has touched the table. */
  #judge(): void {
    if (!this.#table.watched.touchedByOthers() || !this.#there) return;
    this.#drifted = true;
    this.#whole = true;
    this.#task.want(this.#rest.ms);
  }

  #repaired(): void {
    this.#rest.repaired();
    this.#options.log.warn(`table ${OWN_TABLE} was changed by somebody else and is put back`);
    this.#options.onRepair();
  }

  #failed(error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (message !== this.#error)
      this.#options.log.error(
        "the rules of network policies cannot be put in place; pods that have policies are closed where the kernel takes that, and it is tried again",
        { error },
      );
    this.#error = message;
    this.#options.onState();
  }
}

/** What changes are about that are made together: what bears the least delay. */
function bothOf(one: Occasion | undefined, other: Occasion): Occasion {
  if (one === undefined || one === other) return other;
  return one === "change" || other === "change" ? "change" : "coming";
}
