/**
 * This node's part in a pod network beside the default one: a network namespace, blocks of addresses, and a {@link PodNetwork}
 * that keeps the data path there. It lasts from the first pod of the network on this node to the last.
 */
import { familyOf } from "../addr/index.ts";
import { CniError, CODE, type Linked, type Wanted } from "../cni/index.ts";
import { BlockError, blockObjects, type Followed, PublishedPods } from "../ipam/blocks/index.ts";
import type { ClaimingPod } from "../ipam/claims/index.ts";
import type { NetworkConfig } from "../config/index.ts";
import type { FlowNetwork, FlowsOfNetwork } from "../flows/index.ts";
import { errorText, type Logger } from "../log/index.ts";
import type { EgressOfNetwork } from "../egress/index.ts";
import type { NetlinkEvent } from "../netlink/index.ts";
import { nodeMac } from "../endpoints/index.ts";
import type { NetworkNetns } from "../dataplane/netns/index.ts";
import type { PodNetworkInfo } from "../crd/index.ts";
import type { LocalNetwork, VtepAnnotation } from "../peers/index.ts";
import { listPodLinks } from "../dataplane/pod-link/index.ts";
import type { InstancePath, MakeDataPath } from "../data-path/index.ts";
import { type PolicedNetwork, podsOfLinks } from "../enforcement/index.ts";
import { Task, within } from "../reconcile/index.ts";
import type { Inputs, NodeChanges, NodeIdentity, OwnFacts } from "../nodes/index.ts";
import { InstanceAddresses } from "./instance-addresses.ts";
import { configOf } from "./instance-config.ts";
import type { InstanceContext } from "./instance-context.ts";
import { InstanceFiles } from "./instance-files.ts";
import type { InstanceLinks, InstanceRules } from "./instance-machine.ts";
import { InstanceNodes } from "./instance-nodes.ts";
import { hasAttachments, ipamOf, removeDefinition } from "./instance-records.ts";
import { BlockControlLoop } from "./block-control-loop.ts";
import { InstanceUplink } from "./instance-uplink.ts";
import { PodNetwork } from "../network/index.ts";
import { NetworkHold } from "../network-definitions/index.ts";
import { claimFor, transferClaim } from "../pod-requests/index.ts";
import { type ClaimUse, portsOf } from "../workloads/index.ts";
import type { NetworkStatus } from "../observe/index.ts";

const NO_ANSWER = "the API server does not answer";

/** See the header. */
export class NetworkInstance {
  readonly info: PodNetworkInfo;
  readonly netns: NetworkNetns;
  /** Its pods' links. */
  readonly links: InstanceLinks;
  readonly #context: InstanceContext;
  readonly #log: Logger;
  /** Our own Node, to which blocks belong. */
  readonly #node: NodeIdentity;
  readonly #config: NetworkConfig;
  readonly #addresses: InstanceAddresses;
  /** Blocks of all nodes in this network, and the nodes as far as they have some. */
  readonly #all: Followed;
  readonly #nodes: InstanceNodes;
  readonly #firewall: InstanceRules;
  readonly #network: PodNetwork;
  readonly #uplink: InstanceUplink;
  readonly #blockLoop: BlockControlLoop;
  /** Puts the namespace's kernel parameters right where somebody has changed them. */
  readonly #settling: Task;
  readonly #files: InstanceFiles;
  readonly #hold: NetworkHold;
  /** Which pods have which addresses, for the other nodes' policies. */
  readonly #published: PublishedPods;
  readonly #policies: PolicedNetwork;
  /** Of a routed network. */
  readonly #flows: FlowsOfNetwork | undefined;
  readonly #egress: EgressOfNetwork | undefined;
  /** The data path, once there is one. */
  #path: InstancePath | undefined;
  #inputs: { inputs: Inputs; live: boolean } | undefined;
  /** Prefixes that all its pods may send from besides their own addresses. */
  #allowed: readonly string[];
  #own: { of: OwnFacts; cidrs: string; facts: OwnFacts } | undefined;

  /**
   * Takes the namespace over. @param node our own Node, to which blocks belong. @throws SysError when no socket can be opened
   */
  constructor(context: InstanceContext, info: PodNetworkInfo, netns: NetworkNetns, node: NodeIdentity) {
    const { metrics, client, rtnl, machine, firewall, announce, announced, event, elsewhere, places } = context;
    const log = (this.#log = context.log.child({ network: info.name }));
    this.#node = node;
    this.info = info;
    this.#allowed = info.allowedAddresses ?? [];
    this.netns = netns;
    this.#context = context;
    const config = (this.#config = configOf(context.config, info));
    this.#hold = new NetworkHold(client, info, node.name, log);
    this.#files = new InstanceFiles(context.config, info, netns, log, context.repaired);
    const { fd } = netns;
    const bridged = info.mode === "Bridged";
    this.links = machine.links({
      config,
      log,
      metrics,
      netns: fd,
      routed: !bridged,
      keeps: (ip) => this.#path?.keeps?.(ip) ?? false,
      making: (spec, make) => this.#path?.making?.(spec, make) ?? make(),
    });
    const { rtnl: there, watch } = this.links;
    this.#all = context.networkBlocks.follow(info.name, info.cidrs, (nodes) => this.#blocksChanged(nodes));
    const { view } = this.#all;
    this.#nodes = new InstanceNodes({ network: info.name, view, log, event, onDue: () => this.#blocksChanged() });
    this.#addresses = new InstanceAddresses({
      client,
      info,
      node,
      own: context.blocks,
      all: this.#all,
      places,
      ipam: ipamOf(config, log),
      onProblem: (message) => event("Warning", "SkylaneBlockLost", message),
      inUse: (address) => this.#inUse(address),
    });
    this.#blockLoop = new BlockControlLoop({
      log,
      adopt: () => this.#addresses.blocks.adopt(),
      ensure: () => this.#ensureRoom(),
    });
    this.#firewall = machine.rules({
      network: info.name,
      host: firewall,
      netns: fd,
      log,
      metrics,
      tracked: !bridged && (context.config.fastPath === "auto" || context.config.flows === "on"),
      onApplied: () => this.#network.filesChanged(),
      outside: () => this.#uplink.outside,
    });
    this.#uplink = new InstanceUplink({
      machine,
      info,
      host: rtnl,
      rtnl: there,
      netns: fd,
      guarded: () => this.#firewall.verdict().ok,
      log,
      metrics,
    });
    this.#network = new PodNetwork({
      config,
      log,
      metrics,
      rtnl,
      firewall: this.#firewall,
      inside: { netns: fd, rtnl: there },
      bridged,
      dataPath: (local, listener) => (this.#path = this.#makePath(local, listener)),
      announce,
      announced: () => announced(info.name),
      elsewhere,
      write: (local) => this.#publish(local),
      event,
    });
    this.#published = new PublishedPods({
      network: info.name,
      node: node.name,
      log,
      objects: blockObjects(client),
      own: () => context.blocks.objects.values(),
    });
    this.#policies = context.policies.join({
      name: info.name,
      path: netns.path,
      netns: fd,
      rtnl: there,
      watch: watch.also,
      bridged,
      cidrs: info.cidrs,
      log,
      here: () => this.#podsHere(),
      view,
      places,
      publish: (pods) => this.#published.set(pods),
    });
    const whoHas: FlowNetwork["whoHas"] = (ip) => this.#policies.whoHas(ip);
    this.#flows = bridged ? undefined : context.flows.join({ network: info.name, netns: fd, whoHas });
    const inNetns = { name: info.name, path: netns.path, netns: fd, cidrs: info.cidrs, log };
    this.#egress = bridged
      ? undefined
      : context.egress.join({ ...inNetns, here: () => this.#podsHere(), uplink: this.#uplink });
    this.#settling = new Task(
      () => this.#settle(),
      { baseMs: 1_000, maxMs: 60_000 },
      (error, attempt) => {
        if (attempt === 1)
          log.error("kernel parameters of a pod network's namespace cannot be put right; trying again", { error });
      },
    );
    this.links.watch.also({
      onEvents: (events) => this.#noticeSettings(events),
      onResync: () => this.#settling.want(),
    });
    this.links.look();
  }

  #makePath(...[local, listener]: Parameters<MakeDataPath>): InstancePath {
    const { client, event, announce, places, machine } = this.#context;
    const { info, links, netns } = this;
    const { claims } = this.#addresses;
    const options = {
      info,
      config: this.#config,
      client,
      node: this.#node,
      netns: netns.fd,
      rtnl: links.rtnl,
      watch: links.watch.also,
      fastPath: this.#context.config.fastPath === "auto" ? this.#context.settled : undefined,
      mtus: this.#context.mtus,
      links,
      guard: this.#firewall,
      allowed: () => this.#allowed,
      log: this.#log,
      event,
      announce,
      taken: (use: ClaimUse) => transferClaim(claims, use),
      left: ({ holder: claim, pod, uid: podUid }: ClaimUse) => claims.use({ claim, pod, podUid }),
      view: this.#all.view,
      places,
      claimWithMac: (mac: string) => claims.withMac(mac),
    };
    return machine.dataPath(options, local, listener);
  }

  /** Whether a pod on any node has an address, as far as nodes publish that. @throws Error when the API server does not answer */
  async #inUse(address: string): Promise<boolean> {
    const known = Promise.resolve(this.#path?.knows(address));
    return (await within(known, this.#context.readyMs, () => new Error(NO_ANSWER))) ?? false;
  }

  /** Takes note of kernel parameters of the whole namespace; those of single devices are for those who made them. */
  #noticeSettings(events: readonly NetlinkEvent[]): void {
    if (events.some((event) => event.kind === "netconf" && event.netconf.ifindex < 0)) this.#settling.want();
  }

  get name(): string {
    return this.info.name;
  }

  /** What the other nodes are to know. */
  get entry(): VtepAnnotation | undefined {
    return this.#network.entry;
  }

  /** The first inputs: nothing follows from them before there is a block. */
  take(inputs: Inputs, live: boolean): void {
    this.#inputs = { inputs, live };
  }

  /** New inputs; as PodNetwork has them, but that this node's addresses here are its blocks. */
  update(inputs: Inputs, live: boolean, changes: NodeChanges): void {
    this.take(inputs, live);
    this.#hand(this.#nodes.changed(changes));
  }

  /** Hands over what is known, once that is enough: whoever is no peer any more is taken out of the kernel. */
  #hand(changes: NodeChanges): void {
    if (!this.#inputs || this.#addresses.blocks.usable().length === 0 || !this.#all.view.synced) return;
    const { inputs, live } = this.#inputs;
    const nodes = this.#nodes.all(inputs.nodes);
    this.#network.update({ own: this.#ownFacts(inputs.own), nodes }, live, changes);
  }

  /** Pods by their host ends. Those with a claim have its addresses by their records: routes lead to them only while they are here. */
  #podsHere(): ReturnType<typeof podsOfLinks> {
    const pods = podsOfLinks(this.links.rtnl);
    for (const [name, { ips }] of portsOf(this.#config, this.links.rtnl, "claimed")) {
      const pod = pods.get(name);
      if (pod) pods.set(name, { ...pod, ips });
    }
    return pods;
  }

  /** Other nodes have other blocks now. */
  #blocksChanged(nodes: ReadonlySet<string> = new Set()): void {
    this.#path?.blocksChanged();
    this.#policies.blocksChanged(nodes);
    if (this.#inputs) this.#hand(this.#nodes.due(this.#inputs.inputs.nodes, nodes));
  }

  /** The host's table has changed. */
  firewallChanged(): void {
    this.#network.filesChanged();
  }

  status(): NetworkStatus | undefined {
    const status = this.#network.status();
    return status && { ...status, mode: this.info.mode };
  }

  /** Nodes of which it depends on how they stand who gets what here. */
  get contested(): readonly string[] {
    return this.#network.contested;
  }

  sample(): void {
    this.#network.sample();
  }

  look(): void {
    this.#network.look();
    this.#uplink.look();
  }

  /** Puts the namespace's kernel parameters right. @throws SysError, NetlinkError */
  #settle(): void {
    for (const change of this.netns.settle())
      this.#context.log.warn(`put a setting of ${this.netns.name} right: ${change}`);
  }

  /** What is heard of the host's namespace. */
  notice(events: readonly NetlinkEvent[]): void {
    this.#uplink.notice(events);
  }

  /** The network as it is defined now: whether its pods reach what is outside, and what they may send from besides. @throws NetlinkError */
  redefine({ masquerade, allowedAddresses = [] }: PodNetworkInfo): void {
    if (this.#uplink.set(masquerade)) {
      this.#firewall.refresh();
      this.#egress?.changed();
    }
    if (String(allowedAddresses) === String(this.#allowed)) return;
    this.#allowed = allowedAddresses;
    this.#path?.refresh();
  }

  async maintain(): Promise<void> {
    this.#settle();
    const before = this.#addresses.blocks.usable().length;
    await this.#addresses.blocks.releaseSurplus();
    if (this.#addresses.blocks.usable().length !== before) this.#refresh();
    this.#uplink.look();
    await this.#network.maintain();
    this.links.look();
    this.detached();
  }

  /**
   * Makes sure that there is an address left in every family, and that the data path works: pods may come.
   * @throws CniError, BlockError
   */
  async prepare(): Promise<void> {
    const known = this.#context.blocks.whenSynced();
    await within(known, this.#context.readyMs, () => new Error("the API server has not listed this node's blocks yet"));
    await within(
      this.#all.whenSynced,
      this.#context.readyMs,
      () => new Error("the API server has not listed the network's blocks yet"),
    );
    await this.#ensureRoom();
    const questions = () => this.#network.questions();
    await this.#files.whenWritten(this.#addresses.blocks.usable(), questions, this.#context.readyMs);
  }

  /** Keeps the network from going while pods are in it. @throws CniError when it is gone, or another one elsewhere; ApiError */
  hold(): Promise<void> {
    return this.#hold.ensure();
  }

  /** Somebody deleted or changed blocks of this node. */
  blocksChanged(): void {
    this.#blockLoop.look();
    this.#published.look();
  }

  /** Our Node is another object now, or gone: what we have in the API server is to go with it as it is now. */
  nodeChanged(): void {
    this.#path?.adopt();
    this.#blockLoop.adopt();
  }

  async #ensureRoom(): Promise<void> {
    await this.#addresses.blocks.ensureRoom(this.info.cidrs.map(familyOf));
    this.#refresh();
  }

  /**
   * The MAC address of a pod without a claim that asks for none; undefined where any will do. On a bridge it is one that no other node
   * can have: the other nodes believe no other node that says so.
   */
  macOf(containerId: string, ifname: string): string | undefined {
    if (this.info.mode !== "Bridged") return undefined;
    return nodeMac(this.name, this.#context.config.nodeName, `${containerId}/${ifname}`);
  }

  /** What a pod's claim gives it here; undefined when it has none. @throws BlockError, CniError */
  claim(pod: ClaimingPod, standby: boolean): Promise<Wanted | undefined> {
    return claimFor(this.#addresses.claims, this.#context.config.nodeName, pod, standby);
  }

  /**
   * The link of an attachment is there; resolves when the network serves it.
   * @throws CniError
   */
  async linked(attachment: Linked): Promise<void> {
    const done = Promise.allSettled([this.#path?.linked(attachment), this.#addresses.confirm(attachment)]);
    const outcomes = await within(
      done,
      this.#context.readyMs,
      () => new CniError(CODE.tryAgain, `pod network "${this.name}": ${NO_ANSWER}`),
    );
    const failure = outcomes.find((one) => one.status === "rejected");
    if (!failure) return;
    if (failure.reason instanceof CniError) throw failure.reason;
    const why = failure.reason instanceof BlockError ? "" : "the other nodes cannot be told of this pod: ";
    throw new CniError(CODE.tryAgain, `pod network "${this.name}": ${why}${errorText(failure.reason)}`);
  }

  /** Whether an endpoint has an address, in a network whose endpoints are all published. */
  uses(ip: string): boolean {
    return this.#path?.uses?.(ip) ?? false;
  }

  /** An attachment has gone. */
  detached(): void {
    this.#path?.refresh();
  }

  /**
   * Whether no attachment of it is on this node, none that is being made or taken back either, nor one whose record was lost.
   * @throws NetlinkError, Error of the system
   */
  get empty(): boolean {
    return !hasAttachments(this.#config, this.name) && listPodLinks(this.links.rtnl).length === 0;
  }

  /** Leaves the data path and everything else as it is. */
  async stop(): Promise<void> {
    await this.#blockLoop.stop();
    await this.#settling.stop();
    await this.#flows?.close();
    await this.#egress?.stop();
    await this.#policies.stop();
    await this.#published.stop();
    await this.#network.stop();
    await this.#firewall.stop();
    await this.links.stop();
    this.#forgetOthers();
    this.netns.close();
  }

  #forgetOthers(): void {
    this.#nodes.stop();
    this.#all.close();
  }

  /** Takes everything of the network off this node but the name of its namespace. @throws ApiError when a block cannot be given back */
  async leave(): Promise<void> {
    await this.#blockLoop.stop();
    await this.#settling.stop();
    await this.#flows?.close();
    await this.#egress?.leave();
    await this.#policies.leave();
    await this.#published.stop();
    this.#files.remove();
    await this.#network.stop();
    this.#uplink.remove();
    await this.#firewall.remove();
    const { rtnl } = this.links;
    for (const { kind, index, name } of rtnl.links()) {
      if (kind === "vxlan" || kind === "bridge") rtnl.execute({ op: "del", kind: "link", link: { index, name } });
    }
    await this.links.stop();
    this.netns.close();
    try {
      await this.#path?.leave();
      await this.#addresses.blocks.leave();
    } finally {
      this.#forgetOthers();
    }
    removeDefinition(this.#config, this.name);
    await this.#hold.letGo();
  }

  #ownFacts(of: OwnFacts): OwnFacts {
    const cidrs = this.#addresses.blocks.usable().join(" ");
    // Another object only when it says something else: that is how a change is noticed.
    if (this.#own?.of !== of || this.#own.cidrs !== cidrs)
      this.#own = { of, cidrs, facts: { ...of, podCidrs: this.#addresses.blocks.usable() } };
    return this.#own.facts;
  }

  #refresh(): void {
    this.#hand(new Map());
  }

  #publish(local: LocalNetwork): void {
    const before = this.#uplink.inOrder;
    this.#uplink.keep(local.mtu);
    if (this.#uplink.inOrder !== before) this.#egress?.changed();
    this.#files.write(local);
  }
}
