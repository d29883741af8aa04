/**
 * The data path of a bridged network: the bridge's reconciler, fed with the ports of the pods here, by this node's own records,
 * and the endpoints of all nodes, by their objects.
 */
import { addressBits, bigIntToIp, cidrContains, cidrOf, familyOf } from "../addr/index.ts";
import {
  BRIDGE_NAME,
  type BridgedNetwork,
  BridgeReconciler,
  type LocalPort,
  type MacSeen,
  type RemoteEndpoint,
} from "../dataplane/bridge/index.ts";
import type { ClaimPlaces } from "../ipam/claims/index.ts";
import type { Linked } from "../cni/index.ts";
import type { NetworkRecords, PublishedNetwork } from "../config/index.ts";
import type { OwnedEndpoint, Owners } from "../endpoints/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import type { PodNetworkInfo } from "../crd/index.ts";
import type { PortSecurity } from "../dataplane/nft/index.ts";
import type { LocalNetwork, Peer } from "../peers/index.ts";
import type { DataPathStatus, InstancePath } from "./data-path.ts";
import type { DataPathListener } from "../observe/index.ts";
import { OWN_NETNS, type WatchNetns } from "../host/index.ts";
import {
  type Decision,
  type PodPort,
  portsOf,
  withUnrecorded,
  Workloads,
  type WorkloadsOptions,
} from "../workloads/index.ts";

/** For the plugin: the bridge of which pods' host ends are ports. */
export function bridgeOf({ cidrs }: Pick<PodNetworkInfo, "cidrs">): NonNullable<PublishedNetwork["bridge"]> {
  const prefixLengths = Object.fromEntries(cidrs.map((cidr) => [familyOf(cidr), cidrOf(cidr).prefix]));
  return { name: BRIDGE_NAME, prefixLengths };
}

export interface BridgedPathOptions extends Omit<WorkloadsOptions, "info" | "ports" | "onDecision"> {
  info: PodNetworkInfo;
  config: NetworkRecords;
  /** The network's namespace, and a conversation with it. */
  netns: number;
  rtnl: Rtnl;
  /** What happens there. */
  watch: WatchNetns;
  places: WorkloadsOptions["places"] & Pick<ClaimPlaces, "allowed">;
  /** Prefixes that all its pods may send from besides, as the network has them now. */
  allowed: () => readonly string[];
  /** Holds the pods' ports to their addresses. */
  guard: { secure(security: PortSecurity): Promise<void> };
}

const bridgedOf = (local: LocalNetwork, { broadcast }: PodNetworkInfo): BridgedNetwork => ({ ...local, broadcast });

/** See the header. */
export class BridgedPath implements InstancePath {
  readonly #options: BridgedPathOptions;
  readonly #workloads: Workloads;
  readonly #bridge: BridgeReconciler;
  readonly #peers = new Map<string, Peer>();
  /** By MAC, as the bridge has them. */
  #remote = new Map<string, RemoteEndpoint>();
  /** Ports as they are to be, and what they are held to; ports are opened only then. */
  #ports: ReadonlyMap<string, LocalPort> = new Map();
  #security = "";
  #secured: Promise<void> | undefined;
  #stopped = false;

  constructor(options: BridgedPathOptions, local: LocalNetwork, listener: DataPathListener) {
    const { info, config, rtnl, log, netns, watch } = options;
    this.#options = options;
    this.#workloads = new Workloads({
      ...options,
      ports: (before, published) => withUnrecorded(portsOf(config, rtnl, "all"), before, published, rtnl),
      onDecision: (decision) => this.#take(decision),
    });
    this.#bridge = new BridgeReconciler({
      local: bridgedOf(local, info),
      netns,
      underlayNetns: OWN_NETNS,
      logger: log,
      watch,
      onMacSeen: (seen) => this.#seen(seen),
      onRepair: listener.onRepair,
      onError: listener.onError,
      onPass: ({ planSeconds, applySeconds, failures }) =>
        listener.onPass({ applySeconds: planSeconds + applySeconds, failures }),
    });
  }

  get error(): string | undefined {
    return this.#bridge.error;
  }

  get tried(): boolean {
    return this.#bridge.tried;
  }

  /** The first pass removes what is not wanted, so all endpoints are known before. */
  async start(): Promise<void> {
    await this.#workloads.start();
    await this.#secured;
    if (!this.#stopped) await this.#bridge.start();
  }

  setLocal(local: LocalNetwork): void {
    this.#bridge.setLocal(bridgedOf(local, this.#options.info));
  }

  setPeers(peers: Iterable<Peer>): void {
    const all = [...peers];
    this.#peers.clear();
    for (const peer of all) this.#peers.set(peer.node, peer);
    this.#bridge.setPeers(all);
  }

  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    const all = [...changes];
    for (const [node, peer] of all) {
      if (peer) this.#peers.set(node, peer);
      else this.#peers.delete(node);
    }
    this.#bridge.changePeers(all);
  }

  status(): DataPathStatus {
    const { device, ready, error, entries, repairs } = this.#bridge.status();
    const state = entries.fdb.present < entries.fdb.expected ? "pending" : "programmed";
    return {
      device,
      ready,
      ...(error !== undefined && { error }),
      peers: Array.from(this.#peers.values(), (peer) => ({ ...peer, state })),
      entries,
      repairs: { total: Object.values(repairs).reduce((sum, one) => sum + one, 0), byKind: repairs },
    };
  }

  /**
   * A pod's link is there: lets it send, and tells the other nodes that it is here. One on standby waits for its first frame.
   * @throws Error when the other nodes cannot be told
   */
  async linked(attachment: Linked): Promise<void> {
    await this.#workloads.linked(attachment);
    await this.#secured;
    await this.#bridge.settled();
  }

  /** Whether an endpoint on any node has an IP or MAC address. */
  knows(address: string): boolean {
    return this.#workloads.knows(address);
  }

  uses(ip: string): boolean {
    return this.#workloads.knows(ip);
  }

  /** Our Node is another object now, or gone. */
  adopt(): void {
    this.#workloads.adopt();
  }

  /** Nodes have other blocks, or claims others, than before. */
  blocksChanged(): void {
    this.#workloads.blocksChanged();
  }

  /** Pods may have gone. */
  refresh(): void {
    this.#workloads.refresh();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    await this.#workloads.stop();
    await this.#bridge.stop();
  }

  /** Takes away what the other nodes know of ours, after the stop. @throws ApiError */
  leave(): Promise<void> {
    return this.#workloads.leave();
  }

  #take({ ports, held, refused, owners }: Decision): void {
    this.#setRemote(owners.byMac);
    const wanted = new Map<string, LocalPort>();
    for (const { ifname, mac, ips, claimed } of ports.values()) {
      const endpoints = held.has(mac) && !refused.has(ifname) ? [{ mac, ips }] : [];
      wanted.set(ifname, { ifname, endpoints, ...(claimed && { claims: [mac] }) });
    }
    this.#ports = wanted;
    const allowed = this.#options.allowed();
    const of = [...wanted.values()].flatMap(({ ifname, endpoints }) => {
      const own = this.#allowedTo(ports.get(ifname), owners);
      return endpoints.map((one) => ({ ifname, ...one, ...(own.length > 0 && { allowed: own }) }));
    });
    const text = JSON.stringify([of, allowed]);
    if (text === this.#security && !this.#secured) return this.#open();
    this.#security = text;
    const before = this.#secured ?? Promise.resolve();
    const secured = before
      .then(() => this.#options.guard.secure({ ports: of, allowed }))
      .then(() => {
        if (this.#secured === secured) this.#secured = undefined;
        if (!this.#stopped) this.#open();
      });
    this.#secured = secured;
  }

  /** What a pod may send from by its claim. Not from what another pod has: a claim is its owner's word. */
  #allowedTo(port: PodPort | undefined, { byMac, byIp }: Owners): readonly string[] {
    if (!port?.claim) return [];
    const { mac, claim } = port;
    return this.#options.places.allowed(claim.holder).filter((prefix) => {
      const { family, first, prefix: bits } = cidrOf(prefix);
      const whole = bits === addressBits(family);
      const inIt = whole ? [byIp.get(bigIntToIp(first, family))] : byMac.values();
      for (const other of inIt) {
        if (!other || other.mac === mac || !(whole || other.ips.some((ip) => cidrContains(prefix, ip)))) continue;
        const what = `IPClaim ${claim.holder.split("/", 2).join("/")} allows its pod ${prefix}, in which a pod on node ${other.node} has an address; it is not allowed`;
        this.#workloads.once(`${claim.holder} ${prefix}`, what, { mac: other.mac, ips: other.ips.join(" ") });
        return false;
      }
      return true;
    });
  }

  /** Lets pods send whose ports are held to their addresses. */
  #open(): void {
    const wanted = new Map<string, LocalPort | undefined>(this.#ports);
    for (const ifname of this.#bridge.ports.keys()) if (!wanted.has(ifname)) wanted.set(ifname, undefined);
    const changes = [...wanted].filter(([ifname, port]) => !samePort(this.#bridge.ports.get(ifname), port));
    if (changes.length > 0) this.#bridge.setLocalPorts(changes);
  }

  #setRemote(owners: ReadonlyMap<string, OwnedEndpoint>): void {
    const now = new Map<string, RemoteEndpoint>();
    const changes = new Map<string, RemoteEndpoint | undefined>();
    for (const [mac, { ips, node }] of owners) {
      if (node === this.#options.node.name) continue;
      const before = this.#remote.get(mac);
      const endpoint = before?.node === node && String(before.ips) === String(ips) ? before : { mac, ips, node };
      now.set(mac, endpoint);
      if (endpoint !== before) changes.set(mac, endpoint);
    }
    for (const mac of this.#remote.keys()) if (!now.has(mac)) changes.set(mac, undefined);
    this.#remote = now;
    if (changes.size > 0) this.#bridge.setEndpoints(changes);
  }

  #seen({ ifname, mac, claimed }: MacSeen): void {
    if (claimed) this.#workloads.seen(ifname);
    // A pod may speak before it is let in, which is a moment after its link is there.
    else if (this.#workloads.ports.get(ifname)?.mac !== mac)
      this.#workloads.once(
        `${ifname} ${mac}`,
        "a pod sends from a MAC address that it has no claim to; its frames are dropped",
        { ifname, mac },
      );
  }
}

const samePort = (a: LocalPort | undefined, b: LocalPort | undefined): boolean =>
  JSON.stringify(a) === JSON.stringify(b);
