/**
 * Keeps what Skylane needs of the packet filter: its own table, and acceptance where a FORWARD policy would drop its
 * traffic. The table is put in place whole, in one transaction (a tenth of a second for five thousand peers), so
 * there is no difference to work out and nothing to remember about the last one. Any transaction of somebody else's that
 * touches it is answered by putting it in place again: the kernel announces it.
 *
 * Peers that come and go do not wait for that: their addresses are put into the table that is in place (elements.ts). Where
 * that cannot be done, for whatever reason, it is put in place whole.
 *
 * Legacy iptables announces nothing, so where the kernel has such a table its FORWARD chain is looked at on a timer.
 */
import { SysError } from "../../sys/index.ts";
import { LONGEST_REST_MS, RepairRest, SETTLE_MS, Task } from "../../reconcile/index.ts";
import { Digests } from "./digests.ts";
import { ensureForwarding, FORWARD_CHAIN, hasLegacyTable } from "./forward-policy.ts";
import { ElementsRefused } from "./rules/elements.ts";
import type { FirewallOptions, FirewallStatus } from "./firewall-options.ts";
import { type PeerChange, PeerChanges, prefixChanges, setChanges } from "./peer-changes.ts";
import { type RunTool, toolRunner } from "./run.ts";
import { ALL_FEATURES, type NetworkRules, type NftFeatures, OWN_TABLES, TABLE } from "./rules/ruleset.ts";
import { hasPods } from "./rules/sets.ts";
import { applyNetworks, WITHOUT } from "./table.ts";
import { type NftTransaction, NftWatch } from "./watched/watch.ts";
import { WatchedTable } from "./watched/watched-table.ts";

const OWN_TABLE = `inet ${TABLE}`;
/** Chains, and tables that come or go, after whose change a FORWARD chain may need another look. */
const CONCERNS_FORWARD: ReadonlySet<string> = new Set(
  ["ip filter", "ip6 filter"].flatMap((table) => [table, `${table} FORWARD`, `${table} ${FORWARD_CHAIN}`]),
);
const LEGACY_LOOK_MS = 10_000;
/** How long rules may take that depend on peers besides letting them in; putting the table in place takes some processor time. */
const FOLLOW_MS = 5_000;
const RETRY = { baseMs: 250, maxMs: 30_000 } as const;

/** Keeps the packet filter right until it is stopped. */
export class Firewall {
  readonly #options: FirewallOptions;
  readonly #run: RunTool;
  readonly #table = new Task(
    () => this.#applyTable(),
    RETRY,
    (error) => this.#failed("table", error),
  );
  readonly #forward = new Task(
    () => this.#lookAtForward(),
    RETRY,
    (error) => this.#failed("forward", error),
  );
  readonly #errors = new Map<"table" | "forward", string>();
  readonly #repairs = { nft: 0, forward: 0 };
  #networks: readonly NetworkRules[] = [];
  /** Number of what is wanted, and of what is in place. */
  #wanted = 0;
  #applied: number | undefined;
  /** Of each network, by its name: as of which of these its rules are what they are. */
  readonly #since = new Map<string, number>();
  /** Networks whose peers changed while the table was being put in place. */
  readonly #waiting = new Set<string>();
  /** Digests of what was wanted last; undefined when peers have changed since. */
  #digest: string | undefined;
  readonly #digests = new Digests();
  readonly #peers: PeerChanges;
  #features: NftFeatures = ALL_FEATURES;
  #watch: NftWatch | undefined;
  #legacyTimer: NodeJS.Timeout | undefined;
  readonly #watched: WatchedTable;
  /** It is known which of the transactions heard of was the last of ours that put the table in place. */
  #known = false;
  #drifted = false;
  readonly #rest = new RepairRest();
  /** When the table was put in place last, and how long that took, in milliseconds. */
  #last = { end: Number.NEGATIVE_INFINITY, ms: 0 };
  #forwardLooks = 0;
  #acceptedForward = 0;

  constructor(options: FirewallOptions) {
    this.#options = options;
    this.#run = options.run ?? toolRunner({ netns: options.netns });
    this.#watched = new WatchedTable(options.netns, ...OWN_TABLES);
    this.#peers = new PeerChanges(options.netns);
  }

  /**
   * Sets what the rules are made of, for all pod networks of the node. Of an object that was set before nothing may have changed
   * but its peers, and of those {@link changePeers} must have been told. @throws RangeError for values that are none
   */
  set(networks: readonly NetworkRules[]): void {
    const digest = this.#digests.of(networks);
    const known = new Set(this.#networks);
    this.#networks = networks;
    if (digest === this.#digest) return;
    this.#digest = digest;
    // That VXLAN of a network which is gone comes in hurts nobody: hundreds that go together are one change.
    const onlyGone = this.#applied === this.#wanted && networks.length > 0 && networks.every((one) => known.has(one));
    if (onlyGone && this.#watch) this.#table.want(FOLLOW_MS);
    else this.#wantTable();
    const names = new Set(networks.map(({ network }) => network));
    for (const name of this.#since.keys()) if (!names.has(name)) this.#since.delete(name);
    for (const one of networks) if (!known.has(one)) this.#since.set(one.network, this.#wanted);
  }

  /** Other answers are to be let in ({@link FirewallOptions.answers}). What holds of peers stays in force meanwhile. */
  answersChanged(): void {
    if (this.#networks.length > 0) this.#wantTable();
  }

  /**
   * Lets peers of a network in that came and shuts those out that went; what was given to {@link set} must say so too by now.
   * @param follows other rules depend on these peers as well, and are put right some time later
   */
  changePeers(network: NetworkRules, change: PeerChange, follows: boolean): void {
    this.#digest = undefined;
    this.#digests.forget(network);
    const changes = setChanges(network, change, this.#features);
    if (this.#table.running) {
      this.#peers.wait(changes);
      this.#waiting.add(network.network);
    } else if (this.#applied !== this.#wanted || !this.#changed(() => this.#peers.make(changes)))
      this.#wantTable([network.network]);
    const known = this.#know(network, change.prefixes ?? []);
    if ((follows || !known) && this.#watch) this.#table.want(FOLLOW_MS);
  }

  /**
   * Has other rules know prefixes as the cluster's at once: to put the table in place whole for every new peer of thousands would
   * cost it, and those that come with it, tens of milliseconds. False when it has to be after all, some time later.
   */
  #know(network: NetworkRules, prefixes: readonly string[]): boolean {
    if (prefixes.length === 0 || !hasPods(network)) return true;
    // Uplinks have sets of all networks' prefixes together.
    const uplinks = this.#options.uplinks || this.#networks.some(({ uplink }) => uplink !== undefined);
    if (uplinks || this.#table.running || this.#applied !== this.#wanted) return false;
    return this.#changed(() => this.#peers.make(prefixChanges(network, prefixes)));
  }

  /** Starts watching and puts the table in place; resolves after the first attempt (see {@link status}). @throws SysError */
  async start(): Promise<void> {
    if (this.#watch) throw new Error("a firewall is started once");
    this.#watch = NftWatch.open({
      netns: this.#options.netns,
      onTransactions: (transactions) => this.#onTransactions(transactions),
      onLost: (reason) => {
        this.#options.logger.debug("nftables notifications were lost", { reason });
        this.#table.want(LONGEST_REST_MS);
        this.#wantForward(LONGEST_REST_MS);
      },
    });
    this.#table.want();
    this.#wantForward(0);
    const { legacyLookMs = LEGACY_LOOK_MS, forwardPolicy = true } = this.#options;
    if (forwardPolicy) this.#legacyTimer = setInterval(() => this.#lookAtLegacy(), legacyLookMs);
    await this.settled();
  }

  /** Resolves when nothing is under way or about to start; what failed may still be due later. */
  async settled(): Promise<void> {
    await Promise.all([this.#table.settled(), this.#forward.settled()]);
  }

  status(): FirewallStatus {
    const lacking = (Object.keys(WITHOUT) as (keyof NftFeatures)[]).filter((feature) => !this.#features[feature]);
    const error = [...this.#errors.values()].join("; ");
    return {
      ready: this.#applied === this.#wanted,
      ...(error !== "" && { error }),
      degraded: lacking.map((feature) => WITHOUT[feature]),
      acceptedForward: this.#acceptedForward,
      repairs: { ...this.#repairs },
    };
  }

  /**
   * Whether a network's rules are in force and its peers let in. On a node that joins hundreds of networks the table is always behind for one of
   * them, which is nothing for the others to wait for.
   */
  isInPlace(network: string): boolean {
    const since = this.#since.get(network);
    if (since === undefined || this.#applied === undefined || this.#waiting.has(network)) return false;
    return this.#applied >= since;
  }

  /** Stops watching and leaves all rules as they are. */
  async stop(): Promise<void> {
    clearInterval(this.#legacyTimer);
    await Promise.all([this.#table.stop(), this.#forward.stop(), this.#watch?.close()]);
    this.#peers[Symbol.dispose]();
  }

  #onTransactions(transactions: readonly NftTransaction[]): void {
    this.#watched.notice(transactions);
    for (const { chains } of transactions)
      for (const chain of chains) if (CONCERNS_FORWARD.has(chain)) this.#wantForward(SETTLE_MS);
    if (!this.#table.running) this.#judge();
  }

  /** Whether anybody touched our table after our last transaction; what was before, that has overwritten. */
  #judge(): void {
    if (!this.#watched.touchedByOthers() || !this.#known) return;
    this.#drifted = true;
    this.#table.want(this.#rest.ms);
  }

  async #applyTable(): Promise<void> {
    const start = performance.now();
    const ended = (): number => {
      const end = performance.now();
      this.#last = { end, ms: end - start };
      return (end - start) / 1000;
    };
    const [wanted, networks, drifted] = [this.#wanted, this.#networks, this.#drifted];
    this.#drifted = false;
    this.#peers.forget();
    this.#waiting.clear();
    let features = this.#features;
    try {
      const generation = await this.#watched.making(async () => {
        const { uplinks, answers } = this.#options;
        features = await applyNetworks(this.#run, networks, this.#features, uplinks, answers);
      });
      this.#watched.overwritten(generation);
      this.#known = generation !== undefined;
      this.#options.onApply?.("ok", ended());
    } catch (error) {
      this.#drifted ||= drifted;
      this.#applied = undefined;
      this.#options.onApply?.("error", ended());
      throw error;
    }
    this.#applied = wanted;
    this.#errors.delete("table");
    this.#learned(features);
    if (drifted) this.#repaired();
    if (this.#known) this.#judge();
    else this.#table.want(LONGEST_REST_MS);
    if (!this.#changed(() => this.#peers.flush())) this.#wantTable(this.#waiting);
    this.#waiting.clear();
  }

  /**
   * The table in place is not what it should be. It rests as long as it took to put it in place last: networks that come by the
   * dozen, each with a change of its own, cost a few long transactions then, and not one each.
   * @param networks whose rules are not in force before
   */
  #wantTable(networks: Iterable<string> = []): void {
    this.#wanted++;
    for (const network of networks) this.#since.set(network, this.#wanted);
    const { end, ms } = this.#last;
    const restMs = Math.min(Math.max(0, end + ms - performance.now()), LONGEST_REST_MS);
    if (this.#watch) this.#table.want(restMs);
  }

  /** Runs a change of elements; false when it was not made. */
  #changed(make: () => boolean): boolean {
    try {
      return make();
    } catch (error) {
      if (!(error instanceof ElementsRefused || error instanceof SysError)) throw error;
      this.#options.logger.debug("peers cannot be changed in the table that is in place", { error });
      return false;
    }
  }

  #repaired(): void {
    this.#rest.repaired();
    this.#repairs.nft++;
    this.#options.logger.warn(`table ${OWN_TABLE} was changed by somebody else and is put back`);
    this.#options.onRepair?.("nft");
  }

  #learned(features: NftFeatures): void {
    for (const feature of Object.keys(WITHOUT) as (keyof NftFeatures)[]) {
      if (this.#features[feature] && !features[feature]) this.#options.logger.warn(WITHOUT[feature]);
    }
    this.#features = features;
  }

  #wantForward(delayMs: number): void {
    if (this.#options.forwardPolicy !== false) this.#forward.want(delayMs);
  }

  #lookAtLegacy(): void {
    const { netns } = this.#options;
    if (hasLegacyTable(4, netns) || hasLegacyTable(6, netns)) this.#wantForward(0);
  }

  async #lookAtForward(): Promise<void> {
    const { did, restored, dropping } = await ensureForwarding(this.#run, this.#options.netns);
    for (const what of did) this.#options.logger.info(what);
    this.#acceptedForward = dropping;
    this.#errors.delete("forward");
    if (restored && this.#forwardLooks > 0) {
      this.#repairs.forward++;
      this.#options.onRepair?.("forward");
    }
    this.#forwardLooks++;
  }

  #failed(what: "table" | "forward", error: unknown): void {
    const message = error instanceof Error ? error.message : String(error);
    if (this.#errors.get(what) !== message) {
      const text =
        what === "table" ? `table ${OWN_TABLE} cannot be put in place` : "FORWARD chains cannot be looked at";
      this.#options.logger.error(`${text}; it is tried again`, { error });
    }
    this.#errors.set(what, message);
  }
}
