/**
 * The data path of a routed network with a namespace of its own: the overlay's reconciler, with a host route to each address of
 * a claim, beside the routes to nodes' blocks. Where such an address is follows from what all nodes publish (address-places.ts): a peer
 * that has it has the route, and what is here has one to its pod. With that the pod's packets are let in as well, since what it may send
 * from is what leads back to it. The reconciler keeps both, so when a pod moves the one route is replaced by the other, and nobody else
 * writes it: the repair of host ends leaves out what {@link ClaimsPath.keeps}. An ordinary pod costs nothing of this: its address is
 * in its node's block. And as long as no node says that it has pods with claims, nothing is watched.
 */
import { cidrContains } from "../addr/index.ts";
import { ipamDir, type Linked } from "../cni/index.ts";
import type { ClaimPlaces } from "../ipam/claims/index.ts";
import type { NetworkRecords } from "../config/index.ts";
import type { OwnedEndpoint } from "../endpoints/index.ts";
import { Ipam } from "../ipam/local/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import { type LocalNetwork, type Peer } from "../peers/index.ts";
import { FastPath } from "../dataplane/fast-path/index.ts";
import { OverlayReconciler } from "../dataplane/vxlan/index.ts";
import { hostIfname, type PodLink, type PodLinkSpec } from "../dataplane/pod-link/index.ts";
import { type AddressPlaces, NO_PLACES, placesOf, samePlacesHere } from "./address-places.ts";
import { type MeasuredMtus, narrower } from "./narrowed-path.ts";
import { StandbyTaps } from "./standby-taps.ts";
import type { DataPathStatus, InstancePath } from "./data-path.ts";
import type { DataPathListener } from "../observe/index.ts";
import { OWN_NETNS, type WatchNetns } from "../host/index.ts";
import { type InstanceFirewall, SendingHosts } from "../firewall/index.ts";
import type { PodLinks } from "../host-ends/index.ts";
import { type Decision, portsOf, withUnrecorded, Workloads, type WorkloadsOptions } from "../workloads/index.ts";

export interface ClaimsPathOptions extends Omit<WorkloadsOptions, "ports" | "onDecision"> {
  config: NetworkRecords;
  /** The network's namespace, and a conversation with it. */
  netns: number;
  rtnl: Rtnl;
  /** What {@link ClaimsPath.claims} says has changed. */
  announce: () => void;
  /** What happens there. */
  watch: WatchNetns;
  /** Pods' links there. */
  links: Pick<PodLinks, "hostEndOf">;
  /** Where a fast path is wanted beside the ordinary one: when it may begin. */
  fastPath?: Promise<unknown> | undefined;
  /** What the tunnel to a node takes, where somebody measures that. */
  mtus?: MeasuredMtus | undefined;
  /** Holds peers to their addresses. */
  guard: Pick<InstanceFirewall, "hold" | "changeHosts">;
  places: WorkloadsOptions["places"] & Pick<ClaimPlaces, "in">;
}

const UNDECIDED = {
  ports: new Map<string, never>(),
  held: new Set<string>(),
  refused: new Set<string>(),
  owners: new Map<string, OwnedEndpoint>(),
};

/** See the header. */
export class ClaimsPath implements InstancePath {
  readonly #options: ClaimsPathOptions;
  readonly #workloads: Workloads;
  readonly #overlay: OverlayReconciler;
  readonly #fast: FastPath | undefined;
  readonly #taps: StandbyTaps;
  readonly #unfollow: (() => void) | undefined;
  readonly #ipam: Ipam;
  #local: LocalNetwork;
  /** As they were set, without hosts. */
  readonly #peers = new Map<string, Peer>();
  /** Pods with claims and who has what, since the last decision. */
  #decision: Pick<Decision, "ports" | "held" | "refused"> & { owners: ReadonlyMap<string, OwnedEndpoint> } = UNDECIDED;
  #places: AddressPlaces = NO_PLACES;
  /** Those that other nodes may send from. */
  readonly #sending: SendingHosts;
  /** Peers are held to their addresses. */
  #holding = false;
  /** Addresses of links that are being made, by host end. */
  readonly #arriving = new Map<string, readonly string[]>();
  /** There are, or have been, pods with claims here. */
  #claims = false;
  /** Endpoints are followed, from the first claim that is heard of. */
  #following: Promise<void> | undefined;
  #decided = false;
  #started = false;
  #stopped = false;

  constructor(options: ClaimsPathOptions, local: LocalNetwork, listener: DataPathListener) {
    const { config, rtnl, log, netns, watch } = options;
    this.#options = options;
    this.#local = local;
    this.#ipam = new Ipam({ dir: ipamDir(config), warn: (message) => log.debug(message) });
    this.#workloads = new Workloads({
      ...options,
      ports: (before) => withUnrecorded(portsOf(config, rtnl, "claimed"), before, new Map(), rtnl),
      onDecision: (decision) => this.#take(decision),
    });
    this.#overlay = new OverlayReconciler({
      local,
      netns,
      underlayNetns: OWN_NETNS,
      logger: log,
      watch,
      ...listener,
    });
    const { fastPath: begin } = options;
    this.#fast = begin && new FastPath({ log, netns, watch, begin, onRepair: listener.onRepair });
    this.#fast?.setLocal(local);
    this.#sending = new SendingHosts((nodes, before) => {
      const peers = [...nodes].flatMap((node) => this.#peers.get(node) ?? []);
      const having = (of: (node: string) => readonly string[]): Peer[] =>
        peers.map((peer) => ({ ...peer, hosts: of(peer.node) }));
      options.guard.changeHosts(
        this.#local,
        having(before),
        having((node) => this.#sending.of(node)),
      );
    });
    this.#unfollow = options.mtus?.follow((node) => {
      const peer = this.#peers.get(node);
      if (peer) this.#hand([[node, this.#asItIs(peer)]]);
    });
    this.#taps = new StandbyTaps(netns, log, (ifname) => this.#workloads.seen(ifname));
  }

  get error(): string | undefined {
    return this.#overlay.error;
  }

  get tried(): boolean {
    return this.#overlay.tried;
  }

  get claims(): boolean {
    return this.#claims;
  }

  /**
   * The first pass removes what is not wanted, so all nodes' endpoints are known before, if there can be any.
   * @throws ApiError, NetlinkError, IpamStorageError
   */
  async start(): Promise<void> {
    const { config, rtnl } = this.#options;
    const here = portsOf(config, rtnl, "claimed").size > 0;
    if (here || this.#anyPeer() || (await this.#workloads.published())) await this.#follow();
    this.#started = true;
    // Those that came meanwhile.
    if (this.#anyPeer()) await this.#follow();
    if (this.#stopped) return;
    this.refresh();
    this.#hold();
    await this.#overlay.start();
  }

  setLocal(local: LocalNetwork): void {
    this.#local = local;
    this.#overlay.setLocal(local);
    this.#fast?.setLocal(local);
    this.#place();
  }

  setPeers(peers: Iterable<Peer>): void {
    this.#peers.clear();
    for (const peer of peers) this.#peers.set(peer.node, peer);
    const having = Array.from(this.#peers.values(), (peer) => this.#asItIs(peer));
    this.#overlay.setPeers(having);
    this.#fast?.setPeers(having);
    this.#heardOf();
  }

  changePeers(changes: Iterable<readonly [node: string, peer: Peer | undefined]>): void {
    const all = [...changes];
    for (const [node, peer] of all) {
      if (peer) this.#peers.set(node, peer);
      else this.#peers.delete(node);
    }
    this.#hand(all.map(([node, peer]) => [node, peer && this.#asItIs(peer)] as const));
    this.#heardOf();
  }

  status(): DataPathStatus {
    return { ...this.#overlay.status(), ...(this.#fast && { fastPath: this.#fast.status() }) };
  }

  /**
   * Makes a pod's link: what other nodes still say of its addresses counts no more from then on, so that no route is in the way of
   * that to the pod. One on standby comes without routes.
   */
  async making(
    { containerId, ifname, addresses, standby }: PodLinkSpec,
    make: () => Promise<PodLink>,
  ): Promise<PodLink> {
    if (standby) return make();
    const name = hostIfname(containerId, ifname);
    this.#arriving.set(name, addresses);
    try {
      if (this.#decided && this.#contested(addresses)) {
        this.#place();
        await this.#overlay.settled();
      }
      return await make();
    } catch (error) {
      this.#arrived(name);
      throw error;
    }
  }

  /**
   * A pod's link is there: tells the other nodes where the addresses of its claim are. One on standby waits for its first frame.
   * @throws Error when they cannot be told
   */
  async linked(attachment: Linked): Promise<void> {
    try {
      if (attachment.claimed) await this.#follow();
      if (attachment.claimed) await this.#workloads.linked(attachment);
    } finally {
      this.#arrived(hostIfname(attachment.containerId, attachment.ifname));
    }
    if (attachment.claimed) await this.#overlay.settled();
  }

  /** Whether an endpoint on any node has an IP or MAC address. */
  async knows(address: string): Promise<boolean> {
    await this.#follow();
    return this.#workloads.knows(address);
  }

  keeps(ip: string): boolean {
    return this.#overlay.keeps(ip);
  }

  /** Our Node is another object now, or gone. */
  adopt(): void {
    this.#workloads.adopt();
  }

  /** Nodes have other blocks, or claims others, than before. */
  blocksChanged(): void {
    if (this.#following) this.#workloads.blocksChanged();
  }

  /** Pods may have gone. */
  refresh(): void {
    // Those without a claim leave nothing to be told.
    if (this.#following && (this.#workloads.ports.size > 0 || !this.#decided)) this.#workloads.refresh();
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#unfollow?.();
    this.#sending.stop();
    await this.#workloads.stop();
    this.#taps.close();
    await Promise.all([this.#overlay.stop(), this.#fast?.stop()]);
  }

  /** Takes away what the other nodes know of ours, after the stop. @throws ApiError */
  async leave(): Promise<void> {
    if (this.#following) await this.#workloads.leave();
  }

  /** Has peers held to their addresses, once it is known which addresses of claims they have. */
  #hold(): void {
    if (this.#holding || !this.#started || this.#stopped || (this.#following && !this.#decided)) return;
    this.#holding = true;
    this.#options.guard.hold((node) => this.#sending.of(node));
  }

  #anyPeer(): boolean {
    return this.#peers.values().some(({ claims }) => claims === true);
  }

  /** Resolves when all nodes' endpoints are known. */
  #follow(): Promise<void> {
    return (this.#following ??= this.#workloads.start().catch((error: unknown) => {
      this.#options.log.error("pods with claims on this node cannot be read; looking again soon", { error });
    }));
  }

  /** Peers have changed; one may be the first that has claims. */
  #heardOf(): void {
    if (this.#started && this.#anyPeer()) void this.#follow();
  }

  #take({ ports, held, refused, owners }: Decision): void {
    this.#decided = true;
    this.#decision = { ports, held, refused, owners: owners.byMac };
    this.#place();
    this.#hold();
    if (ports.size > 0 && !this.#claims) {
      this.#claims = true;
      this.#options.announce();
    }
    const { pods } = this.#places;
    this.#taps.follow([...ports.values()].filter(({ ifindex, ips }) => !ips.some((ip) => pods.get(ip) === ifindex)));
  }

  #arrived(name: string): void {
    const addresses = this.#arriving.get(name);
    this.#arriving.delete(name);
    if (addresses && this.#decided && this.#contested(addresses)) this.#place();
  }

  /** Whether one of these leads somewhere by a decision, or would, were no link with it being made. */
  #contested(ips: readonly string[]): boolean {
    const own = this.#options.node.name;
    const owners = this.#decision.owners.values();
    return (
      ips.some((ip) => this.#overlay.keeps(ip)) ||
      owners.some((one) => one.node !== own && one.ips.some((ip) => ips.includes(ip)))
    );
  }

  /** Decides where addresses lead, and hands over what changed of that in one go: what one has may be what another one had. */
  #place(): void {
    const before = this.#places;
    const after = (this.#places = placesOf({
      ...this.#decision,
      node: this.#options.node.name,
      arriving: this.#arriving,
      owners: this.#decision.owners.values(),
      ordinary: this.#ordinary(),
    }));
    this.#sending.set(after.elsewhere, this.#expected());
    const nodes = new Set([...before.elsewhere.keys(), ...after.elsewhere.keys()]);
    const changed = [...nodes].filter(
      (node) => String(before.elsewhere.get(node)) !== String(after.elsewhere.get(node)),
    );
    const peers = changed.flatMap((node) => this.#peers.get(node) ?? []);
    const same = samePlacesHere(before, after);
    if (peers.length === 0 && same) return;
    this.#hand(
      peers.map((peer) => [peer.node, this.#asItIs(peer)] as const),
      after,
    );
  }

  #hand(peers: readonly (readonly [node: string, peer: Peer | undefined])[], places?: AddressPlaces): void {
    this.#overlay.changePeers(peers, places);
    this.#fast?.changePeers(peers);
  }

  /** Addresses by the nodes that have their claims, by the claims' status: it is written before anybody sends from there. */
  #expected(): Map<string, string[]> {
    const { places, info, node: own } = this.#options;
    const expected = new Map<string, string[]>();
    if (!this.#decided) return expected;
    for (const { node, ips } of places.in(info.name))
      if (node !== own.name) expected.set(node, [...(expected.get(node) ?? []), ...ips]);
    return expected;
  }

  /**
   * Tells pods here that have an address without a claim, of which another node says that it has it. No claim has an address of a
   * node's block, so this is somebody's error, and no pod of ours is to be cut off by it.
   */
  #ordinary(): (ip: string, node: string) => number | "unknown" | undefined {
    const { links } = this.#options;
    const inBlocks = (ip: string): boolean => this.#local.podCidrs.some((cidr) => cidrContains(cidr, ip));
    let taken: Set<string> | undefined;
    return (ip, node) => {
      const end = links.hostEndOf(ip);
      const reserved = (): boolean => (taken ??= new Set(this.#ipam.list().map((one) => one.ip))).has(ip);
      if (end === undefined && !(inBlocks(ip) && reserved())) return undefined;
      const message = `node ${node} says that it has ${ip}, which a pod here has without a claim; it is passed over`;
      this.#workloads.once(`taken ${ip} ${node}`, message, {});
      return end ?? "unknown";
    };
  }

  /** A peer with the addresses that moved there, and with what the way there takes. */
  #asItIs(peer: Peer): Peer {
    const hosts = this.#places.elsewhere.get(peer.node);
    const pathMtu = narrower(this.#options.mtus?.of(peer.node), this.#local.mtu);
    return { ...peer, ...(hosts && { hosts }), ...(pathMtu && { pathMtu }) };
  }
}
