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
import type { Logger } from "../log/index.ts";
import { Monitor, type MonitorListener, type NetlinkEvent, Rtnl } from "../netlink/index.ts";
import { Backoff } from "./backoff.ts";
import type { Birthplace } from "./birthplace.ts";
import { Desired } from "./desired.ts";
import { doubtOf } from "./drift.ts";
import { Pacer, type PassEnd } from "./pacer.ts";
import { type Known, type PassReport, runPass } from "./pass.ts";
import { isDesired, keysOf } from "./entries.ts";
import type { RepairCounts, RepairKind } from "./repairs.ts";
import { type OverlayStatus, overlayStatus } from "./status.ts";
import type { LocalNetwork, Peer } from "./types.ts";

/** The key under which failures of the device and of reading the kernel are retried; no entry has it. */
const WHOLE = "device";

export interface ReconcilerOptions {
  local: LocalNetwork;
  /** Namespace to work in, as path or descriptor; the process's own when absent. */
  netns?: number | string;
  /**
   * Namespace whose underlay the device uses, as path or descriptor: the device is made from there into `netns`, which it
   * takes. Absent, it is made in `netns` itself. A deleted device is made again in the same way.
   */
  underlayNetns?: number | string;
  logger: Logger;
  /** Something was repaired: `count` entries of a kind. */
  onRepair?: (kind: RepairKind, count: number) => void;
  /** A pass has ended: the status may be another. */
  onPass?: (report: PassReport) => void;
  /** The pass could not be made at all; it is tried again. `status().error` says the same. */
  onError?: (error: unknown) => void;
  /** First and longest pause between attempts at what fails, in milliseconds. */
  backoff?: { baseMs?: number; maxMs?: number };
  /** Room for notifications that were not read yet, in bytes. */
  receiveBufferBytes?: number;
  /**
   * Has a listener told of links, addresses, routes and neighbours of the namespace, from the call on until it is closed: who
   * watches the namespace already need not have everything read and decoded twice. A monitor of its own when absent.
   */
  watch?: (listener: MonitorListener) => { close(): Promise<void> };
}

/** Keeps one network's overlay right until it is stopped. */
export class OverlayReconciler {
  readonly #options: ReconcilerOptions;
  readonly #backoff: Backoff;
  readonly #repairs: RepairCounts = { total: 0, byKind: { device: 0, fdb: 0, neighbour: 0, route: 0, address: 0 } };
  readonly #desired: Desired;
  #known: Known | undefined;
  #error: string | undefined;
  #rtnl: Rtnl | undefined;
  /** A conversation with the namespace that the device is made from. */
  #underlay: Rtnl | undefined;
  #monitor: { close(): Promise<void> } | undefined;
  readonly #pacer: Pacer;

  constructor(options: ReconcilerOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.backoff);
    this.#desired = new Desired(options.local);
    this.#pacer = new Pacer({ pass: (trusted) => this.#pass(trusted), retryIn: () => this.#backoff.nextIn() });
  }

  /**
   * Starts watching and makes the kernel right for the peers set so far; resolves when the first pass has ended, whether
   * it succeeded or not (see {@link status}). Set the peers before: a start without peers removes those that are there.
   * @throws SysError when no socket can be opened
   */
  async start(): Promise<void> {
    if (this.#monitor) throw new Error("an overlay reconciler is started once");
    const { netns, receiveBufferBytes, watch } = this.#options;
    const listener: MonitorListener = {
      onEvents: (events) => this.#onEvents(events),
      onResync: (reason) => this.#doubt(reason),
    };
    this.#monitor = watch
      ? watch(listener)
      : Monitor.open({
          kinds: ["link", "address", "route", "neighbour"],
          ...listener,
          ...(netns !== undefined && { netns }),
          ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
        });
    this.#pacer.start();
    await this.settled();
  }

  /** Replaces the peers. They must not conflict with each other: they come from selectPeers. */
  setPeers(peers: Iterable<Peer>): void {
    const changes = new Map<string, Peer | undefined>([...this.#desired.peers.keys()].map((node) => [node, undefined]));
    for (const peer of peers) changes.set(peer.node, peer);
    this.changePeers(changes);
  }

  /** Takes peers as they are now, by node; undefined for those that left. All others stay. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    this.#desired.change(changes);
    this.#change();
  }

  /** Replaces what we are ourselves: underlay address, MTU, VNI, MAC, pod CIDRs … The network's name stays. */
  setLocal(local: LocalNetwork): void {
    if (local.network !== this.#desired.local.network) throw new Error("a reconciler serves one pod network");
    this.#desired.setLocal(local);
    this.#change();
  }

  /** Looks at the kernel now instead of waiting for a notification. */
  resync(reason: string): void {
    this.#doubt(reason);
  }

  /** Resolves when no pass is under way or about to start; retries of failing entries may still be due later. */
  async settled(): Promise<void> {
    await this.#pacer.settled();
  }

  /** Why there is no device, or why the kernel could not be read. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Whether every entry has been tried: what is missing, the kernel has refused. */
  get tried(): boolean {
    if (!this.#known) return false;
    for (const key of this.#missing()) if (!this.#backoff.failing(key)) return false;
    return true;
  }

  status(): OverlayStatus {
    return overlayStatus({
      local: this.#desired.local,
      peers: this.#desired.peers,
      desired: this.#desired.state,
      missing: new Set(this.#missing()),
      errors: this.#backoff.errors(),
      error: this.#error,
      problems: (this.#error === undefined && this.#known?.problems) || [],
      repairs: this.#repairs,
    });
  }

  /** Stops watching and leaves the kernel as it is. */
  async stop(): Promise<void> {
    await this.#pacer.stop();
    await this.#monitor?.close();
    this.#hangUp();
    this.#pacer.free();
  }

  /** Desired entries that are not known to be in the kernel. */
  *#missing(): Generator<string> {
    const { state } = this.#desired;
    // While the kernel cannot be read, or the device not be made, nothing is claimed to be there.
    const lost = !this.#known || this.#error !== undefined;
    const keys = lost ? keysOf(state) : new Set([...(this.#known?.missing ?? []), ...this.#desired.unsettled()]);
    for (const key of keys) if (isDesired(state, key)) yield key;
  }

  #change(): void {
    if (this.#backoff.size > 0) {
      // What failed and has become something else deserves a new chance at once; what is not wanted, none.
      const { changed, state } = this.#desired;
      this.#backoff.keep((key) => key !== WHOLE && isDesired(state, key) && !changed.has(key));
    }
    this.#pacer.change();
  }

  #onEvents(events: readonly NetlinkEvent[]): void {
    for (const event of events) {
      const doubt = doubtOf(this.#desired.state, this.#known?.ifindex, event);
      if (!doubt) continue;
      // Whatever stood in its way may be gone now.
      if (event.event === "del") this.#backoff.clear(doubt.kind === "device" ? WHOLE : doubt.key);
      this.#doubt(`a notification about ${doubt.key}`);
    }
  }

  #doubt(reason: string): void {
    if (this.#pacer.trusted) this.#options.logger.debug("the kernel is looked at again", { reason });
    this.#pacer.doubt();
  }

  async #pass(trusted: boolean): Promise<PassEnd> {
    try {
      const { netns, logger } = this.#options;
      this.#rtnl ??= Rtnl.open(netns === undefined ? {} : { netns });
      const outcome = await runPass({
        rtnl: this.#rtnl,
        netns,
        birthplace: this.#birthplace(),
        desired: this.#desired,
        known: this.#known,
        trusted,
        backoff: this.#backoff,
        logger,
      });
      this.#known = outcome.known;
      this.#error = undefined;
      this.#backoff.clear(WHOLE);
      for (const [kind, count] of outcome.repairs) {
        this.#repairs.total += count;
        this.#repairs.byKind[kind] += count;
        this.#options.onRepair?.(kind, count);
      }
      this.#options.onPass?.(outcome.report);
      return outcome.trusted ? "done" : "again";
    } catch (error) {
      this.#failed(error);
      return "failed";
    }
  }

  #failed(error: unknown): void {
    this.#error = error instanceof Error ? error.message : String(error);
    if (this.#backoff.failed(WHOLE, this.#error)) {
      this.#options.logger.error("the overlay cannot be made right; it is tried again", { error });
    }
    this.#options.onError?.(error);
    // The sockets themselves may be what failed.
    this.#hangUp();
  }

  #hangUp(): void {
    this.#rtnl?.close();
    this.#underlay?.close();
    this.#rtnl = undefined;
    this.#underlay = undefined;
  }

  #birthplace(): Birthplace | undefined {
    const { netns, underlayNetns } = this.#options;
    if (underlayNetns === undefined || netns === undefined) return undefined;
    this.#underlay ??= Rtnl.open({ netns: underlayNetns });
    return { rtnl: this.#underlay, netns };
  }
}
