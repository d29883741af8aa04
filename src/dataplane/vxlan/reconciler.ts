/**
 * The reconciler of one pod network's overlay: keeps the VXLAN device, and the entries on it, what they should be for those who
 * take part.
 */
import { familyOf, hostPrefix } from "../../addr/index.ts";
import type { NetlinkEvent, Operation, OperationFailure, Route } from "../../netlink/index.ts";
import type { LocalNetwork, Peer } from "../../peers/index.ts";
import { entryKey, type Ensured, type Refused } from "../../reconcile/index.ts";
import { applyPlan, KernelReconciler, type KernelReconcilerOptions } from "../kernel/index.ts";
import { type AddressesHere, Desired, ownersOf } from "./desired/desired.ts";
import type { OverlayEntry } from "./desired/entries.ts";
import { replacement } from "./desired/replacement.ts";
import { ensureDevice } from "./device/device.ts";
import { type Preparation, tellWrongParameters } from "./device/prepare.ts";
import { doubtOf } from "./drift.ts";
import { type Actual, isDirectRoute, type OnDevice, readActual } from "./plan/actual.ts";
import { replaceForeignRoutes } from "./plan/foreign-routes.ts";
import { overlayOperations } from "./plan/operations.ts";
import { type OverlayStatus, overlayStatus } from "./status.ts";

/** What the kernel answers about a device that is gone, or down. */
const NO_DEVICE = new Set(["ENODEV", "ENXIO", "ENOENT", "ENETDOWN"]);

export interface ReconcilerOptions extends KernelReconcilerOptions {
  local: LocalNetwork;
}

/** Keeps one network's overlay right until it is stopped. */
export class OverlayReconciler extends KernelReconciler<OverlayEntry, Actual, OnDevice> {
  readonly #desired: Desired;
  /** Pods' host ends that are down, by index. */
  readonly #down = new Set<number>();

  constructor(options: ReconcilerOptions) {
    super(options, "overlay", ["link", "address", "route", "neighbour"], overlayOperations);
    this.#desired = new Desired(options.local, this.desired);
  }

  /** Replaces the peers. They must not conflict with each other: they come from selectPeers. */
  setPeers(peers: Iterable<Peer>): void {
    this.changePeers(replacement(this.#desired.peers.keys(), peers));
  }

  /**
   * Takes peers as they are now, by node; undefined for those that left. All others stay.
   * @param here addresses that move with their pods, as they are here now; as before when absent. What moves between this node and a
   * peer is handed over in the same call: its one route is replaced then, and there is no moment without.
   */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>, here?: AddressesHere): void {
    const { entries } = this.#desired;
    const unknown = here && [...here.vacant].some((ip) => !entries.has(entryKey("route", hostPrefix(ip))));
    this.#desired.change(changes, here);
    // Of what leads there the plugin may know.
    if (unknown) this.doubt("addresses that nothing may lead to");
    this.change();
  }

  /** Whether what leads to an address is decided here, be it to a pod here or to a peer. */
  keeps(ip: string): boolean {
    return this.#desired.entries.has(entryKey("route", hostPrefix(ip)));
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
    this.passOver(link.index);
    return { on: { ifindex: link.index, vni: device.vni, port: device.port }, touched: changed, problems };
  }

  protected override read(on: OnDevice, first: boolean): Promise<Iterable<Actual>> {
    const desired = this.#desired;
    const direct = first || desired.local.directRouting === "auto";
    const { pods, vacant } = desired.here;
    const others = (route: Route): boolean => (direct && isDirectRoute(route)) || desired.decides(route.dst);
    return readActual(this.rtnl, on, direct || pods.size + vacant.size > 0 ? others : undefined);
  }

  protected override async apply(operations: readonly Operation[]): Promise<readonly Refused[]> {
    const failures = await applyPlan(this.rtnl, operations);
    const matter = failures.filter((failure) => !this.#goesWithItsPod(failure));
    const { refused, replaced } = replaceForeignRoutes(this.rtnl, matter);
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
    const owners = ownersOf(this.#desired);
    for (const [entry, reason] of entries)
      this.logger.warn("the kernel refused an entry; it is tried again", { entry, node: owners.get(entry), reason });
  }

  protected override onEvents(events: readonly NetlinkEvent[]): void {
    const device = { index: this.on?.ifindex, name: this.#desired.device.name };
    if (tellWrongParameters(events, device, this.#preparation))
      this.doubt("a notification about the device's kernel parameters");
    for (const event of events) {
      if (this.#isOfPodEnd(event)) continue;
      const key = doubtOf(this.#desired, this.on, event);
      // Whatever stood in its way may be gone now.
      if (key !== undefined) this.doubt(`a notification about ${key}`, event.event === "del" ? key : undefined);
    }
  }

  /**
   * Takes note of pods' host ends that go down and come up again. With one that is down the kernel has no routes, and takes none: who looks
   * after it sets it up (host-ends/host-ends.ts), unless its pod is going.
   * @returns whether nothing else follows from a notification
   */
  #isOfPodEnd(event: NetlinkEvent): boolean {
    if (event.kind === "route") return event.event === "del" && this.#down.has(event.route.ifindex ?? 0);
    if (event.kind !== "link" || !(this.#desired.isPodEnd(event.link.index) || this.#down.has(event.link.index)))
      return false;
    const { index, up } = event.link;
    const wasDown = this.#down.delete(index);
    if (event.event === "del") return true;
    if (!up) this.#down.add(index);
    else if (wasDown) this.doubt("a pod's host end that is up again");
    return true;
  }

  /** A route to a pod that is going, or whose host end is down. */
  #goesWithItsPod({ operation, error }: OperationFailure): boolean {
    return (
      operation.kind === "route" && this.#desired.isPodEnd(operation.route.ifindex ?? 0) && NO_DEVICE.has(error.code)
    );
  }

  get #preparation(): Preparation {
    return { netns: this.netns, ipv6: this.#desired.local.podCidrs.some((cidr) => familyOf(cidr) === 6) };
  }
}
