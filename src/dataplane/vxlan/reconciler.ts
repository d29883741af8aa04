/**
 * The reconciler of one pod network's overlay: keeps the VXLAN device, and the entries on it, what they should be for those who
 * take part.
 */
import { familyOf } from "../../addr/index.ts";
import type { NetlinkEvent, Operation } from "../../netlink/index.ts";
import type { LocalNetwork, Peer } from "../../peers/index.ts";
import type { Ensured, Refused } from "../../reconcile/index.ts";
import { applyPlan, KernelReconciler, type KernelReconcilerOptions } from "../kernel/index.ts";
import { Desired, ownersOf } from "./desired/desired.ts";
import type { OverlayEntry } from "./desired/entries.ts";
import { replacement } from "./desired/replacement.ts";
import { ensureDevice } from "./device/device.ts";
import { type Preparation, tellWrongParameters } from "./device/prepare.ts";
import { doubtOf } from "./drift.ts";
import { type Actual, type OnDevice, readActual } from "./plan/actual.ts";
import { replaceForeignRoutes } from "./plan/foreign-routes.ts";
import { overlayOperations } from "./plan/operations.ts";
import { type OverlayStatus, overlayStatus } from "./status.ts";

export interface ReconcilerOptions extends KernelReconcilerOptions {
  local: LocalNetwork;
}

/** Keeps one network's overlay right until it is stopped. */
export class OverlayReconciler extends KernelReconciler<OverlayEntry, Actual, OnDevice> {
  readonly #desired: Desired;

  constructor(options: ReconcilerOptions) {
    super(options, "overlay", ["link", "address", "route", "neighbour"], overlayOperations);
    this.#desired = new Desired(options.local, this.desired);
  }

  /** Replaces the peers. They must not conflict with each other: they come from selectPeers. */
  setPeers(peers: Iterable<Peer>): void {
    this.changePeers(replacement(this.#desired.peers.keys(), peers));
  }

  /** Takes peers as they are now, by node; undefined for those that left. All others stay. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    this.#desired.change(changes);
    this.change();
  }

  /** Replaces what we are ourselves: underlay address, MTU, VNI, MAC, pod CIDRs … The network's name stays. */
  setLocal(local: LocalNetwork): void {
    if (local.network !== this.#desired.local.network) throw new Error("a reconciler serves one pod network");
    // What failed may have failed because of what has changed: IPv6 under too small an MTU, for one.
    this.forgive();
    this.#desired.setLocal(local);
    this.change();
  }

  status(): OverlayStatus {
    return overlayStatus({
      desired: this.#desired,
      missing: this.missing,
      errors: this.errors,
      error: this.error,
      problems: this.error === undefined ? this.problems : [],
      repairs: this.repairs,
    });
  }

  protected override get ground(): object {
    return this.#desired.device;
  }

  protected override ensure(again: boolean): Ensured<OnDevice> {
    const { device } = this.#desired;
    const { link, changed, did, problems } = ensureDevice(this.rtnl, device, this.#preparation, this.linkNetns);
    if (changed) {
      const [level, what] = again ? (["warn", "repaired VXLAN device"] as const) : (["info", "VXLAN device"] as const);
      this.logger[level](`${what} ${link.name}: ${did.join("; ")}`);
    }
    return { on: { ifindex: link.index, vni: device.vni, port: device.port }, touched: changed, problems };
  }

  protected override read(on: OnDevice, first: boolean): Promise<Iterable<Actual>> {
    return readActual(this.rtnl, on, first || this.#desired.local.directRouting === "auto");
  }

  protected override async apply(operations: readonly Operation[]): Promise<readonly Refused[]> {
    const { refused, replaced } = replaceForeignRoutes(this.rtnl, await applyPlan(this.rtnl, operations));
    for (const route of replaced) this.logger.warn("replaced a route that was not Skylane's", { route });
    return refused;
  }

  /** Routes leave with the address that they have as their source. */
  protected override takesAlong({ kind, op }: Operation): boolean {
    return kind === "address" && op === "del";
  }

  protected override nameOf(index: number, { ifindex }: OnDevice): string | undefined {
    return index === ifindex ? this.#desired.device.name : this.rtnl.link(index)?.name;
  }

  protected override tellRefused(entries: ReadonlyMap<string, string>): void {
    const owners = ownersOf(this.#desired.local, this.#desired.peers.values());
    for (const [entry, reason] of entries)
      this.logger.warn("the kernel refused an entry; it is tried again", { entry, node: owners.get(entry), reason });
  }

  protected override onEvents(events: readonly NetlinkEvent[]): void {
    const device = { index: this.on?.ifindex, name: this.#desired.device.name };
    if (tellWrongParameters(events, device, this.#preparation))
      this.doubt("a notification about the device's kernel parameters");
    for (const event of events) {
      const key = doubtOf(this.#desired, this.on, event);
      // Whatever stood in its way may be gone now.
      if (key !== undefined) this.doubt(`a notification about ${key}`, event.event === "del" ? key : undefined);
    }
  }

  get #preparation(): Preparation {
    return { netns: this.netns, ipv6: this.#desired.local.podCidrs.some((cidr) => familyOf(cidr) === 6) };
  }
}
