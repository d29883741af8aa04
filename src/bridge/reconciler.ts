/**
 * The reconciler of one bridged network: keeps bridge, ports and entries in the network's namespace what they should be, in
 * the overlay's way: passes that compare and repair, notifications that say no more than that a look is needed.
 */
import type { Logger } from "../log/index.ts";
import { Monitor, type MonitorListener, type NetlinkEvent, Rtnl } from "../netlink/index.ts";
import { Backoff, type BackoffOptions, type Birthplace, Pacer, type PassEnd, type Peer } from "../overlay/index.ts";
import { BridgeDesired } from "./desired.ts";
import { doubtOf, WHOLE } from "./drift.ts";
import { type BridgePassReport, type KnownBridge, runBridgePass } from "./pass.ts";
import { Sightings } from "./sightings.ts";
import { type BridgeStatus, bridgeStatus, noRepairs } from "./status.ts";
import type {
  BridgedNetwork,
  BridgeEntryKind,
  EndpointAddresses,
  LocalPort,
  MacSeen,
  RemoteEndpoint,
} from "./types.ts";

export interface BridgeReconcilerOptions {
  local: BridgedNetwork;
  /** The network's namespace, as path or descriptor; the process's own when absent. */
  netns?: number | string;
  /** Namespace whose underlay the VXLAN device uses, as path or descriptor; `netns` itself when absent. */
  underlayNetns?: number | string;
  logger: Logger;
  /** A MAC was seen at a port that may not send from it; it may be told again and again. */
  onMacSeen?: (seen: MacSeen) => void;
  /** Something was repaired: `count` entries of a kind. */
  onRepair?: (kind: BridgeEntryKind | "device", count: number) => void;
  /** A pass has ended: the status may be another. */
  onPass?: (report: BridgePassReport) => void;
  /** The pass could not be made at all; it is tried again. `status().error` says the same. */
  onError?: (error: unknown) => void;
  backoff?: BackoffOptions;
  /** Room for notifications that were not read yet, in bytes. */
  receiveBufferBytes?: number;
  /**
   * Has a listener told of links and neighbours of the namespace, from the call on until it is closed: for whoever watches the
   * namespace already. A monitor of its own when absent.
   */
  watch?: (listener: MonitorListener) => { close(): Promise<void> };
}

/** Keeps one network's bridge right until it is stopped. */
export class BridgeReconciler {
  readonly #options: BridgeReconcilerOptions;
  readonly #backoff: Backoff;
  readonly #desired: BridgeDesired;
  readonly #pacer: Pacer;
  readonly #sightings: Sightings;
  readonly #repairs = noRepairs();
  #known: KnownBridge | undefined;
  #error: string | undefined;
  #rtnl: Rtnl | undefined;
  #underlay: Rtnl | undefined;
  #monitor: { close(): Promise<void> } | undefined;
  /** Ports whose claims cannot be listened for, in words. */
  #deaf: ReadonlyMap<string, string> = new Map();

  constructor(options: BridgeReconcilerOptions) {
    this.#options = options;
    this.#backoff = new Backoff(options.backoff);
    this.#desired = new BridgeDesired(options.local);
    this.#pacer = new Pacer({ pass: (trusted) => this.#pass(trusted), retryIn: () => this.#backoff.nextIn() });
    this.#sightings = new Sightings(options.netns, (seen) => options.onMacSeen?.(seen));
  }

  /**
   * Starts watching and makes the kernel right for what was set so far; resolves when the first pass has ended, whether it
   * succeeded or not (see {@link status}). Set everything before: what is there and not wanted is removed.
   * @throws SysError when no socket can be opened
   */
  async start(): Promise<void> {
    if (this.#monitor) throw new Error("a bridge reconciler is started once");
    const { netns, receiveBufferBytes, watch } = this.#options;
    const listener: MonitorListener = {
      onEvents: (events) => this.#onEvents(events),
      onResync: (reason) => this.#doubt(reason),
    };
    this.#monitor = watch
      ? watch(listener)
      : Monitor.open({
          kinds: ["link", "neighbour"],
          ...listener,
          ...(netns !== undefined && { netns }),
          ...(receiveBufferBytes !== undefined && { receiveBufferBytes }),
        });
    this.#pacer.start();
    await this.settled();
  }

  /** Replaces the nodes that take part. They must not conflict with each other: they come from selectPeers. */
  setPeers(peers: Iterable<Peer>): void {
    const changes = new Map<string, Peer | undefined>([...this.#desired.peers.keys()].map((node) => [node, undefined]));
    for (const peer of peers) changes.set(peer.node, peer);
    this.changePeers(changes);
  }

  /** Takes nodes as they are now, by name; undefined for those that take part no longer. All others stay. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    this.#desired.changePeers(changes);
    this.#change();
  }

  /**
   * Takes other nodes' endpoints as they are now, by MAC; undefined for those that are gone. All others stay. They must not
   * conflict with each other: they come from ownersOf. Those of a node that is no peer wait for it.
   */
  setEndpoints(changes: Iterable<readonly [mac: string, endpoint: RemoteEndpoint | undefined]>): void {
    this.#desired.changeEndpoints(changes);
    this.#change();
  }

  /** Takes the host ends of pods here as they are now, by name; undefined for those that are gone. All others stay. */
  setLocalPorts(changes: Iterable<readonly [ifname: string, port: LocalPort | undefined]>): void {
    this.#desired.changePorts(changes);
    this.#change();
  }

  /**
   * Lets a pod send from a MAC, and sends what is for it there, whoever had it before.
   * @throws Error when there is no such port
   */
  permit(ifname: string, endpoint: EndpointAddresses): void {
    const port = this.#desired.ports.get(ifname);
    if (!port)
      throw new Error(`network ${this.#desired.local.network} has no port ${ifname} to permit ${endpoint.mac} at`);
    const others = port.endpoints.filter(({ mac }) => mac !== endpoint.mac);
    this.setLocalPorts([[ifname, { ...port, endpoints: [...others, endpoint] }]]);
  }

  /** Replaces what we are ourselves. The network's name stays. */
  setLocal(local: BridgedNetwork): void {
    if (local.network !== this.#desired.local.network) throw new Error("a reconciler serves one pod network");
    this.#desired.setLocal(local);
    this.#change();
  }

  /** Looks at the kernel now instead of waiting for a notification. */
  resync(reason: string): void {
    this.#doubt(reason);
  }

  /** Resolves when no pass is under way or about to start; retries may still be due later. */
  async settled(): Promise<void> {
    await this.#pacer.settled();
  }

  /** Host ends of pods here, as they were set. */
  get ports(): ReadonlyMap<string, LocalPort> {
    return this.#desired.ports;
  }

  /** Why there is no bridge, or why the kernel could not be read. */
  get error(): string | undefined {
    return this.#error;
  }

  /** Whether every entry has been tried: what is missing, the kernel has refused. */
  get tried(): boolean {
    return this.#known !== undefined && [...this.#missing()].every((key) => this.#backoff.failing(key));
  }

  status(): BridgeStatus {
    return bridgeStatus({
      desired: this.#desired,
      missing: this.#missing(),
      errors: this.#backoff.errors(),
      error: this.#error,
      problems: [...(this.#known?.problems ?? []), ...this.#deaf.values()],
      repairs: this.#repairs,
    });
  }

  /** Stops watching and leaves the kernel as it is. */
  async stop(): Promise<void> {
    await this.#pacer.stop();
    await this.#monitor?.close();
    this.#sightings.close();
    this.#hangUp();
    this.#pacer.free();
  }

  /** Desired entries that are not known to be in the kernel. */
  #missing(): Set<string> {
    const { entries, ledger } = this.#desired;
    const lost = !this.#known || this.#error !== undefined;
    const keys = lost ? entries.keys() : [...(this.#known?.missing ?? []), ...ledger.unsettled()];
    return new Set([...keys].filter((key) => entries.has(key)));
  }

  #change(): void {
    if (this.#backoff.size > 0) {
      const { ledger, entries } = this.#desired;
      const { changed } = ledger;
      this.#backoff.keep((key) => key !== WHOLE && entries.has(key) && !changed.has(key));
    }
    this.#pacer.change();
  }

  #onEvents(events: readonly NetlinkEvent[]): void {
    for (const event of events) {
      const devices = this.#known?.devices;
      if (devices && event.kind === "bridgeFdb")
        this.#sightings.heard(event.bridgeFdb, event.event === "del", devices, this.#desired.ports);
      const doubt = doubtOf(this.#desired, devices, event);
      if (doubt === undefined) continue;
      // Whatever stood in its way may be gone now, or its port may be there.
      if (event.event === "del" || event.kind === "link") this.#backoff.clear(doubt);
      this.#doubt(`a notification about ${doubt}`);
    }
  }

  #doubt(reason: string): void {
    if (this.#pacer.trusted) this.#options.logger.debug("the bridge is looked at again", { reason });
    this.#pacer.doubt();
  }

  async #pass(trusted: boolean): Promise<PassEnd> {
    try {
      const { netns, logger } = this.#options;
      this.#rtnl ??= Rtnl.open(netns === undefined ? {} : { netns });
      const outcome = await runBridgePass({
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
      const { devices } = outcome.known;
      this.#deaf = this.#sightings.follow(devices, this.#desired.ports);
      for (const entry of outcome.locked ?? []) this.#sightings.heard(entry, false, devices, this.#desired.ports);
      for (const [kind, count] of outcome.repairs) {
        this.#repairs[kind] += count;
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
      this.#options.logger.error("the bridge cannot be made right; it is tried again", { error });
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
