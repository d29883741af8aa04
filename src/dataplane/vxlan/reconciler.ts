/**
 * The reconciler of one pod network: keeps the kernel what the desired state says.
 *
 * It is level-triggered: first start, a changed peer, a repair and a retry are all the same pass (pass.ts), which
 * compares what the kernel holds with what it should hold and applies the difference. Notifications never say what
 * to do, only that a look is needed: one that fits the desired state (as the echo of our own work does) is no news, any
 * other makes the next pass begin with a dump. Between two dumps the planner may assume that the kernel holds what was
 * last applied, since a notification would have spoken against it, and looks at what changed since then alone; so one
 * new peer among thousands costs its own few operations. An overrun, a failure to read and a long time without a look all end in a dump as well.
 */
import type { NetlinkEvent } from "../../netlink/index.ts";
import { Desired } from "./desired/desired.ts";
import { doubtOf } from "./drift.ts";
import { tellWrongParameters } from "./device/prepare.ts";
import { type Known, type PassOutcome, type PassReport, preparationOf, runPass } from "./pass.ts";
import { isDesired, keysOf } from "./desired/entries.ts";
import type { RepairCounts, RepairKind } from "./plan/repairs.ts";
import { replacement } from "./desired/replacement.ts";
import { type OverlayStatus, overlayStatus } from "./status.ts";
import type { LocalNetwork, Peer } from "../../peers/index.ts";
import { ControlLoop, type ControlLoopOptions, WHOLE } from "./control-loop.ts";

export interface ReconcilerOptions extends ControlLoopOptions {
  local: LocalNetwork;
  /** Something was repaired: `count` entries of a kind. */
  onRepair?: (kind: RepairKind, count: number) => void;
  /** A pass has ended: the status may be another. */
  onPass?: (report: PassReport) => void;
}

/** Keeps one network's overlay right until it is stopped. */
export class OverlayReconciler {
  readonly #options: ReconcilerOptions;
  readonly #repairs: RepairCounts = { total: 0, byKind: { device: 0, fdb: 0, neighbour: 0, route: 0, address: 0 } };
  readonly #desired: Desired;
  #known: Known | undefined;
  readonly #upkeep: ControlLoop<PassOutcome>;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#desired = new Desired(options.local);
    this.#upkeep = new ControlLoop(options, {
      name: "overlay",
      kinds: ["link", "address", "route", "neighbour"],
      onEvents: (events) => this.#onEvents(events),
      pass: (at) =>
        runPass({
          ...at,
          desired: this.#desired,
          known: this.#known,
          backoff: this.#upkeep.backoff,
          logger: options.logger,
        }),
      onOutcome: (outcome) => this.#onOutcome(outcome),
    });
  }

  /**
   * Starts watching and makes the kernel right for the peers set so far; resolves when the first pass has ended, whether
   * it succeeded or not (see {@link status}). Set the peers before: a start without peers removes those that are there.
   * @throws SysError when no socket can be opened
   */
  start(): Promise<void> {
    return this.#upkeep.start();
  }

  /** Replaces the peers. They must not conflict with each other: they come from selectPeers. */
  setPeers(peers: Iterable<Peer>): void {
    this.changePeers(replacement(this.#desired.peers.keys(), peers));
  }

  /** Takes peers as they are now, by node; undefined for those that left. All others stay. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    this.#desired.change(changes);
    this.#change();
  }

  /** Replaces what we are ourselves: underlay address, MTU, VNI, MAC, pod CIDRs … The network's name stays. */
  setLocal(local: LocalNetwork): void {
    if (local.network !== this.#desired.local.network) throw new Error("a reconciler serves one pod network");
    // What failed may have failed because of what has changed: IPv6 under too small an MTU, for one.
    this.#upkeep.backoff.keep(() => false);
    this.#desired.setLocal(local);
    this.#change();
  }

  /** Looks at the kernel now instead of waiting for a notification. */
  resync(reason: string): void {
    this.#upkeep.doubt(reason);
  }

  /** Resolves when no pass is under way or about to start; retries of failing entries may still be due later. */
  settled(): Promise<void> {
    return this.#upkeep.settled();
  }

  /** Why there is no device, or why the kernel could not be read. */
  get error(): string | undefined {
    return this.#upkeep.error;
  }

  /** Whether every entry has been tried: what is missing, the kernel has refused. */
  get tried(): boolean {
    if (!this.#known) return false;
    for (const key of this.#missing()) if (!this.#upkeep.backoff.failing(key)) return false;
    return true;
  }

  status(): OverlayStatus {
    return overlayStatus({
      local: this.#desired.local,
      peers: this.#desired.peers,
      desired: this.#desired.state,
      missing: new Set(this.#missing()),
      errors: this.#upkeep.backoff.errors(),
      error: this.error,
      problems: (this.error === undefined && this.#known?.problems) || [],
      repairs: this.#repairs,
    });
  }

  /** Stops watching and leaves the kernel as it is. */
  stop(): Promise<void> {
    return this.#upkeep.stop();
  }

  /** Desired entries that are not known to be in the kernel. */
  *#missing(): Generator<string> {
    const { state } = this.#desired;
    // While the kernel cannot be read, or the device not be made, nothing is claimed to be there.
    const lost = !this.#known || this.error !== undefined;
    const keys = lost ? keysOf(state) : new Set([...(this.#known?.missing ?? []), ...this.#desired.unsettled()]);
    for (const key of keys) if (isDesired(state, key)) yield key;
  }

  #change(): void {
    this.#upkeep.change(() => {
      const { changed, state } = this.#desired;
      return (key) => isDesired(state, key) && !changed.has(key);
    });
  }

  #onEvents(events: readonly NetlinkEvent[]): void {
    const { state } = this.#desired;
    const device = { index: this.#known?.ifindex, name: state.device.name };
    if (tellWrongParameters(events, device, preparationOf(state, this.#options.netns)))
      this.#upkeep.doubt("a notification about the device's kernel parameters");
    for (const event of events) {
      const doubt = doubtOf(state, this.#known?.ifindex, event);
      if (!doubt) continue;
      // Whatever stood in its way may be gone now.
      if (event.event === "del") this.#upkeep.backoff.clear(doubt.kind === "device" ? WHOLE : doubt.key);
      this.#upkeep.doubt(`a notification about ${doubt.key}`);
    }
  }

  #onOutcome({ known, repairs, report }: PassOutcome): void {
    this.#known = known;
    for (const [kind, count] of repairs) {
      this.#repairs.total += count;
      this.#repairs.byKind[kind] += count;
      this.#options.onRepair?.(kind, count);
    }
    this.#options.onPass?.(report);
  }
}
