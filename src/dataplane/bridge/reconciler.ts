/**
 * The reconciler of one bridged network: keeps bridge, ports and entries in the network's namespace what they should be, in
 * the overlay's way: passes that compare and repair, notifications that say no more than that a look is needed.
 */
import type { Deaf, EndpointAddresses } from "../../endpoints/index.ts";
import type { NetlinkEvent } from "../../netlink/index.ts";
import { type Peer } from "../../peers/index.ts";
import { replacement, ControlLoop, type ControlLoopOptions, tellWrongParameters } from "../vxlan/index.ts";
import { BridgeDesired } from "./desired.ts";
import { tunnelPreparation } from "./device.ts";
import { doubtOf } from "./drift.ts";
import { type BridgePassOutcome, type BridgePassReport, type KnownBridge, runBridgePass } from "./pass.ts";
import { Sightings } from "./sightings.ts";
import { type BridgeStatus, bridgeStatus, noRepairs } from "./status.ts";
import type { BridgedNetwork, BridgeEntryKind, LocalPort, MacSeen, RemoteEndpoint } from "./types.ts";

export interface BridgeReconcilerOptions extends ControlLoopOptions {
  local: BridgedNetwork;
  /** A MAC was seen at a port that may not send from it; it may be told again and again. */
  onMacSeen?: (seen: MacSeen) => void;
  /** Something was repaired: `count` entries of a kind. */
  onRepair?: (kind: BridgeEntryKind | "device", count: number) => void;
  /** A pass has ended: the status may be another. */
  onPass?: (report: BridgePassReport) => void;
}

/** Keeps one network's bridge right until it is stopped. */
export class BridgeReconciler {
  readonly #options: BridgeReconcilerOptions;
  readonly #desired: BridgeDesired;
  readonly #upkeep: ControlLoop<BridgePassOutcome>;
  readonly #sightings: Sightings;
  readonly #repairs = noRepairs();
  #known: KnownBridge | undefined;
  /** Ports whose claims cannot be listened for, in words. */
  #deaf: Deaf = new Map();

  constructor(options: BridgeReconcilerOptions) {
    this.#options = options;
    this.#desired = new BridgeDesired(options.local);
    this.#upkeep = new ControlLoop(options, {
      name: "bridge",
      kinds: ["link", "neighbour"],
      onEvents: (events) => this.#onEvents(events),
      pass: (at) =>
        runBridgePass({
          ...at,
          desired: this.#desired,
          known: this.#known,
          backoff: this.#upkeep.backoff,
          logger: options.logger,
        }),
      onOutcome: (outcome) => this.#onOutcome(outcome),
    });
    this.#sightings = new Sightings(options.netns, (seen) => options.onMacSeen?.(seen));
  }

  /**
   * Starts watching and makes the kernel right for what was set so far; resolves when the first pass has ended, whether it
   * succeeded or not (see {@link status}). Set everything before: what is there and not wanted is removed.
   * @throws SysError when no socket can be opened
   */
  start(): Promise<void> {
    return this.#upkeep.start();
  }

  /** Replaces the nodes that take part. They must not conflict with each other: they come from selectPeers. */
  setPeers(peers: Iterable<Peer>): void {
    this.changePeers(replacement(this.#desired.peers.keys(), peers));
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
    this.#upkeep.doubt(reason);
  }

  /** Resolves when no pass is under way or about to start; retries may still be due later. */
  settled(): Promise<void> {
    return this.#upkeep.settled();
  }

  /** Host ends of pods here, as they were set. */
  get ports(): ReadonlyMap<string, LocalPort> {
    return this.#desired.ports;
  }

  /** Why there is no bridge, or why the kernel could not be read. */
  get error(): string | undefined {
    return this.#upkeep.error;
  }

  /** Whether every entry has been tried: what is missing, the kernel has refused. */
  get tried(): boolean {
    return this.#known !== undefined && [...this.#missing()].every((key) => this.#upkeep.backoff.failing(key));
  }

  status(): BridgeStatus {
    return bridgeStatus({
      desired: this.#desired,
      missing: this.#missing(),
      errors: this.#upkeep.backoff.errors(),
      error: this.error,
      problems: [...(this.#known?.problems ?? []), ...this.#deaf.values()],
      repairs: this.#repairs,
    });
  }

  /** Stops watching and leaves the kernel as it is. */
  async stop(): Promise<void> {
    await this.#upkeep.stop();
    this.#sightings.close();
  }

  /** Desired entries that are not known to be in the kernel. */
  #missing(): Set<string> {
    const { entries, ledger } = this.#desired;
    const lost = !this.#known || this.error !== undefined;
    const keys = lost ? entries.keys() : [...(this.#known?.missing ?? []), ...ledger.unsettled()];
    return new Set([...keys].filter((key) => entries.has(key)));
  }

  #change(): void {
    this.#upkeep.change(() => {
      const { ledger, entries } = this.#desired;
      const { changed } = ledger;
      return (key) => entries.has(key) && !changed.has(key);
    });
  }

  #onEvents(events: readonly NetlinkEvent[]): void {
    const tunnel = { index: this.#known?.devices.vxlan, name: this.#desired.local.device };
    if (tellWrongParameters(events, tunnel, tunnelPreparation(this.#options.netns)))
      this.#upkeep.doubt("a notification about the device's kernel parameters");
    for (const event of events) {
      const devices = this.#known?.devices;
      if (devices && event.kind === "bridgeFdb")
        this.#sightings.heard(event.bridgeFdb, event.event === "del", devices, this.#desired.ports);
      const doubt = doubtOf(this.#desired, devices, event);
      if (doubt === undefined) continue;
      // Whatever stood in its way may be gone now, or its port may be there.
      if (event.event === "del" || event.kind === "link") this.#upkeep.backoff.clear(doubt);
      this.#upkeep.doubt(`a notification about ${doubt}`);
    }
  }

  #onOutcome({ known, locked, repairs, report }: BridgePassOutcome): void {
    this.#known = known;
    const { devices } = known;
    this.#deaf = this.#sightings.follow(devices, this.#desired.ports);
    for (const entry of locked ?? []) this.#sightings.heard(entry, false, devices, this.#desired.ports);
    for (const [kind, count] of repairs) {
      this.#repairs[kind] += count;
      this.#options.onRepair?.(kind, count);
    }
    this.#options.onPass?.(report);
  }
}
