/**
 * The reconciler of one bridged network: keeps bridge, ports and entries in the network's namespace what they should be.
 */
import type { Unmonitored, EndpointAddresses } from "../../endpoints/index.ts";
import type { BridgeFdbEntry, NetlinkEvent } from "../../netlink/index.ts";
import type { Peer } from "../../peers/index.ts";
import { type Ensured, type Ground, kindOf } from "../../reconcile/index.ts";
import { KernelReconciler, type KernelReconcilerOptions } from "../kernel/index.ts";
import { replacement, tellWrongParameters } from "../vxlan/index.ts";
import { type Devices, readBridge } from "./actual.ts";
import { BridgeDesired } from "./desired.ts";
import { ensureBridge, ensurePorts, tunnelPreparation } from "./device.ts";
import { doubtOf } from "./drift.ts";
import { bridgeOperations } from "./operations.ts";
import { LearnedMacs } from "./learned-macs.ts";
import { type BridgeStatus, bridgeStatus } from "./status.ts";
import {
  type BridgedNetwork,
  type BridgeEntry,
  type LocalPort,
  type MacSeen,
  portKey,
  type RemoteEndpoint,
} from "./types.ts";

export interface BridgeReconcilerOptions extends KernelReconcilerOptions {
  local: BridgedNetwork;
  /** A MAC was seen at a port that may not send from it; it may be told again and again. */
  onMacSeen?: (seen: MacSeen) => void;
}

/** Keeps one network's bridge right until it is stopped. */
export class BridgeReconciler extends KernelReconciler<BridgeEntry, BridgeEntry, Devices> {
  readonly #desired: BridgeDesired;
  readonly #learnedMacs: LearnedMacs;
  /** Addresses seen at locked ports in the last dump. */
  #locked: BridgeFdbEntry[] = [];
  /** Ports whose claims cannot be listened for, in words. */
  #unmonitored: Unmonitored = new Map();

  constructor(options: BridgeReconcilerOptions) {
    super(options, "bridge", ["link", "neighbour"], bridgeOperations);
    this.#desired = new BridgeDesired(options.local, this.desired);
    this.#learnedMacs = new LearnedMacs(options.netns, (seen) => options.onMacSeen?.(seen));
  }

  /** Replaces the nodes that take part. They must not conflict with each other: they come from selectPeers. */
  setPeers(peers: Iterable<Peer>): void {
    this.changePeers(replacement(this.#desired.peers.keys(), peers));
  }

  /** Takes nodes as they are now, by name; undefined for those that take part no longer. All others stay. */
  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    this.#desired.changePeers(changes);
    this.change();
  }

  /**
   * Takes other nodes' endpoints as they are now, by MAC; undefined for those that are gone. All others stay. They must not
   * conflict with each other: they come from ownersOf. Those of a node that is no peer wait for it.
   */
  setEndpoints(changes: Iterable<readonly [mac: string, endpoint: RemoteEndpoint | undefined]>): void {
    this.#desired.changeEndpoints(changes);
    this.change();
  }

  /** Takes the host ends of pods here as they are now, by name; undefined for those that are gone. All others stay. */
  setLocalPorts(changes: Iterable<readonly [ifname: string, port: LocalPort | undefined]>): void {
    this.#desired.changePorts(changes);
    this.change();
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
    this.change();
  }

  /** Host ends of pods here, as they were set. */
  get ports(): ReadonlyMap<string, LocalPort> {
    return this.#desired.ports;
  }

  status(): BridgeStatus {
    return bridgeStatus({
      desired: this.#desired,
      missing: this.missing,
      errors: this.errors,
      error: this.error,
      problems: [...this.problems, ...this.#unmonitored.values()],
      repairs: this.repairs,
    });
  }

  /** Stops watching and leaves the kernel as it is. */
  override async stop(): Promise<void> {
    await super.stop();
    this.#learnedMacs.close();
  }

  protected override get ground(): object {
    return this.#desired.local;
  }

  protected override ensure(again: boolean): Ensured<Devices> {
    const { local, ports } = this.#desired;
    const where = { netns: this.netns, linkNetns: this.linkNetns };
    const { devices, did, problems, changed, refused } = ensureBridge(this.rtnl, local, ports.keys(), where);
    if (did.length > 0) {
      const what = `${again ? "repaired the bridge" : "bridge"} of network ${local.network}: ${did.join("; ")}`;
      if (again) this.logger.warn(what);
      else this.logger.info(what);
    }
    return { on: devices, touched: did.length > 0, problems, ...byKey({ changed, refused }) };
  }

  /** Looks at the ports among the keys alone. */
  protected override ensureFew(on: Devices, keys: ReadonlySet<string>): Ground<Devices> {
    const ports = new Map(on.ports);
    const names = [...keys].filter((key) => kindOf(key) === "port").map((key) => key.slice("port ".length));
    for (const ifname of names) ports.delete(ifname);
    const wanted = names.filter((ifname) => this.#desired.ports.has(ifname));
    const found = ensurePorts(this.rtnl, wanted, (ifname) => this.rtnl.link(ifname), on.bridge, ports);
    return { on: { ...on, ports }, ...byKey(found) };
  }

  protected override async read(on: Devices): Promise<Iterable<BridgeEntry>> {
    const { entries, locked } = await readBridge(this.rtnl, on);
    this.#locked = locked;
    return entries;
  }

  protected override nameOf(): string {
    return this.#desired.local.device;
  }

  protected override tellRefused(entries: ReadonlyMap<string, string>): void {
    const { network } = this.#desired.local;
    for (const [entry, reason] of entries)
      this.logger.warn("the kernel refused an entry of a bridge; it is tried again", { network, entry, reason });
  }

  protected override afterPass(devices: Devices): void {
    const { ports } = this.#desired;
    this.#unmonitored = this.#learnedMacs.follow(devices, ports);
    const locked = this.#locked.splice(0);
    for (const entry of locked) this.#learnedMacs.heard(entry, false, devices, ports);
  }

  protected override onEvents(events: readonly NetlinkEvent[]): void {
    const tunnel = { index: this.on?.vxlan, name: this.#desired.local.device };
    if (tellWrongParameters(events, tunnel, tunnelPreparation(this.netns)))
      this.doubt("a notification about the device's kernel parameters");
    for (const event of events) {
      const devices = this.on;
      if (devices && event.kind === "bridgeFdb")
        this.#learnedMacs.heard(event.bridgeFdb, event.event === "del", devices, this.#desired.ports);
      const key = doubtOf(this.#desired, devices, event);
      if (key === undefined) continue;
      // Whatever stood in its way may be gone now, or its port may be there.
      const freed = event.event === "del" || event.kind === "link";
      this.doubt(`a notification about ${key}`, freed ? key : undefined);
    }
  }
}

/** What was found of ports, by their entries' keys. */
const byKey = ({ changed, refused }: ReturnType<typeof ensurePorts>): Pick<Ground<Devices>, "changed" | "refused"> => ({
  changed: Array.from(changed, portKey),
  refused: new Map(Array.from(refused, ([ifname, why]) => [portKey(ifname), why])),
});
