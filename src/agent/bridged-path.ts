/**
 * The data path of a bridged network: the bridge's reconciler, fed with the ports of the pods here, by this node's own records,
 * and the endpoints of all nodes, by their objects. A workload that moves takes its addresses along: the node that sees it send
 * publishes that it has them now, and every other one, the former among them, follows.
 */
import {
  type BridgedNetwork,
  BridgeReconciler,
  type LocalPort,
  type MacSeen,
  type OwnedEndpoint,
  ownEndpoints,
  ownersOf,
  type RemoteEndpoint,
} from "../bridge/index.ts";
import type { Linked } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import type { KubeClient } from "../kube/index.ts";
import { errorText, type Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import type { PodNetworkInfo } from "../networks/index.ts";
import type { LocalNetwork, Peer } from "../overlay/index.ts";
import { hostIfname } from "../pod/index.ts";
import { type ClaimUse, portsOf, type PodPort } from "./bridged-ports.ts";
import type { DataPath, DataPathListener, DataPathStatus } from "./data-path.ts";
import { EndpointBook } from "./endpoint-book.ts";
import { OWN_NETNS } from "./machine.ts";
import type { WatchNetns } from "./netns-watch.ts";

/** Complaints about single MACs that are told, a network. */
const MAX_TOLD = 256;

export interface BridgedPathOptions {
  info: PodNetworkInfo;
  /** The agent's configuration as the network's. */
  config: AgentConfig;
  client: KubeClient;
  /** Our own Node. */
  node: { name: string; uid: string };
  /** The network's namespace, and a conversation with it. */
  netns: number;
  rtnl: Rtnl;
  /** What happens there. */
  watch: WatchNetns;
  log: Logger;
  /** A pod on standby has begun to send: makes the claim its own. @throws Error when it cannot be */
  taken: (use: ClaimUse) => Promise<void>;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

const bridgedOf = (local: LocalNetwork, { broadcast }: PodNetworkInfo): BridgedNetwork => ({ ...local, broadcast });

/** See the header. */
export class BridgedPath implements DataPath {
  readonly #options: BridgedPathOptions;
  readonly #book: EndpointBook;
  readonly #bridge: BridgeReconciler;
  readonly #peers = new Map<string, Peer>();
  /** By MAC, as the bridge has them. */
  #remote = new Map<string, RemoteEndpoint>();
  #ports: ReadonlyMap<string, PodPort> = new Map();
  /** MACs to take over with the next decision, and those about which the API server is being asked. */
  readonly #taking = new Set<string>();
  readonly #asking = new Set<string>();
  readonly #told = new Set<string>();
  #decision: NodeJS.Immediate | undefined;
  #began = false;
  #stopped = false;
  readonly #stopping = Promise.withResolvers<void>();

  constructor(options: BridgedPathOptions, local: LocalNetwork, listener: DataPathListener) {
    const { info, client, node, log, netns, watch } = options;
    this.#options = options;
    this.#book = new EndpointBook({ client, info, node, log, onChange: () => this.#soon() });
    this.#bridge = new BridgeReconciler({
      local: bridgedOf(local, info),
      netns,
      underlayNetns: OWN_NETNS,
      logger: log,
      watch,
      onMacSeen: (seen) => this.#seen(seen),
      onRepair: listener.onRepair,
      onError: listener.onError,
      onPass: ({ seconds, failures }) => listener.onPass({ applySeconds: seconds, failures }),
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
    this.#book.start();
    await Promise.race([this.#book.whenSynced(), this.#stopping.promise]);
    if (this.#stopped) return;
    this.#began = true;
    this.refresh();
    await this.#bridge.start();
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
  async linked({ containerId, ifname, standby }: Linked): Promise<void> {
    const { config, rtnl } = this.#options;
    this.#ports = portsOf(config, rtnl);
    const port = this.#ports.get(hostIfname(containerId, ifname));
    if (port?.claimed && !standby) this.#taking.add(port.mac);
    this.#decide();
    await this.#book.published();
    // What another node had is let in only now.
    this.#decide();
    await this.#bridge.settled();
  }

  /** Whether an endpoint on any node has an IP or MAC address. */
  knows(address: string): boolean {
    for (const endpoints of this.#book.lists.values())
      if (endpoints.some(({ ips, mac }) => mac === address || ips.includes(address))) return true;
    return false;
  }

  /** Pods may have gone. */
  refresh(): void {
    if (!this.#began) return;
    const { config, rtnl } = this.#options;
    this.#ports = portsOf(config, rtnl);
    this.#decide();
  }

  async stop(): Promise<void> {
    this.#began = false;
    this.#stopped = true;
    this.#stopping.resolve();
    clearImmediate(this.#decision);
    await this.#book.stop();
    await this.#bridge.stop();
  }

  /** Takes away what the other nodes know of ours, after the stop. @throws ApiError */
  async leave(): Promise<void> {
    await this.#book.remove();
  }

  #soon(): void {
    if (!this.#began) return;
    this.#decision ??= setImmediate(() => {
      this.#decision = undefined;
      if (this.#began) this.#decide();
    });
  }

  #decide(): void {
    const { node, log } = this.#options;
    const { lists } = this.#book;
    const ports = this.#ports.values();
    const outcome = ownEndpoints({ node: node.name, ports, lists, taking: this.#taking });
    const { own, from, lost, disputed } = outcome;
    this.#taking.clear();
    for (const [mac, owner] of lost)
      log.info("a workload of this node is on another one now", { mac, ips: owner.ips.join(" "), node: owner.node });
    for (const [mac, owner] of disputed) this.#disputed(mac, owner);
    this.#book.set(own);
    // Until it is published, what another node had stays where it was.
    const held = [...own.values()].filter(({ mac }) => !from.has(mac) || this.#book.says(mac));
    const owners = held.length === own.size ? outcome.owners : ownersOf(new Map([...lists, [node.name, held]]));
    this.#setRemote(owners.byMac);
    const macs = new Set(held.map(({ mac }) => mac));
    const wanted = new Map<string, LocalPort | undefined>();
    for (const ifname of this.#bridge.ports.keys()) wanted.set(ifname, undefined);
    for (const { ifname, mac, ips, claimed } of this.#ports.values())
      wanted.set(ifname, { ifname, endpoints: macs.has(mac) ? [{ mac, ips }] : [], ...(claimed && { claims: [mac] }) });
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
    if (claimed) void this.#take(ifname);
    // A pod may speak before it is let in, which is a moment after its link is there.
    else if (this.#ports.get(ifname)?.mac !== mac)
      this.#once(`${ifname} ${mac}`, "a pod sends from a MAC address that it has no claim to; its frames are dropped", {
        ifname,
        mac,
      });
  }

  /** A workload has moved here. Told again and again until its frames are let in. */
  async #take(ifname: string): Promise<void> {
    const { mac, claim: use } = this.#ports.get(ifname) ?? {};
    if (mac === undefined || !use || this.#asking.has(mac) || this.#book.own.has(mac)) return;
    this.#asking.add(mac);
    const { log, taken } = this.#options;
    try {
      await taken(use);
      if (!this.#began) return;
      log.info("a workload has moved to this node", { mac, pod: use.pod });
      this.#taking.add(mac);
      this.#decide();
    } catch (error) {
      this.#once(
        `${mac} ${use.holder}`,
        `a pod sends from the addresses of a claim that it cannot have: ${errorText(error)}`,
        { mac, pod: use.pod },
      );
    } finally {
      this.#asking.delete(mac);
    }
  }

  #disputed(mac: string, { node, mac: other, ips }: OwnedEndpoint): void {
    const { event, info } = this.#options;
    const message = `network ${info.name}: node ${node} has ${other} ${ips.join(" ")}, which overlaps with a pod's ${mac} here; that pod is cut off`;
    if (this.#once(`${mac} ${node}`, message, {})) event("Warning", "SkylaneEndpointLost", message);
  }

  /** Warns of something once; returns whether this was the time. */
  #once(key: string, message: string, details: Record<string, string>): boolean {
    if (this.#told.has(key) || this.#told.size >= MAX_TOLD) return false;
    this.#told.add(key);
    this.#options.log.warn(message, details);
    return true;
  }
}

const samePort = (a: LocalPort | undefined, b: LocalPort | undefined): boolean =>
  JSON.stringify(a) === JSON.stringify(b);
