/**
 * The pod networks beside the default one: which there are, which of them this node has a part in, and what a pod may have of
 * them. A node takes part from its first pod in a network to its last; of all others it knows the definition and nothing else.
 */
import { CniError, CODE, type Linked, type PrepareRequest } from "../cni/index.ts";
import type { ObjectReflector } from "../kube/index.ts";
import type { NetlinkEvent } from "../netlink/index.ts";
import type { NetworkBlock, Obstacle, PodNetworkInfo } from "../crd/index.ts";
import { NetworkBlocks, watchOwnBlocks } from "../ipam/blocks/index.ts";
import { claimObjects, ClaimPlaces } from "../ipam/claims/index.ts";
import type { NetnsMounter, NetworkNetns } from "../dataplane/netns/index.ts";
import { netnsIdentity, type NetnsIdentity, sameNetns } from "../sys/index.ts";
import {
  type ClusterAddresses,
  clusterAddresses,
  DefinedNetworks,
  predecessorHasPods,
} from "../network-definitions/index.ts";
import { lookAt } from "../host/index.ts";
import { type Entries, identityOf, type Inputs, type NodeChanges, type NodeIdentity } from "../nodes/index.ts";
import { heldNetns, IdleNetns } from "./named-netns.ts";
import { definedHere, findLeftovers, hasPods, removeLeftovers } from "./leftovers.ts";
import { NetworkInstance } from "./network-instance.ts";
import type { InstanceContext } from "./instance-context.ts";
import { NotReadyYet } from "./instance-files.ts";
import { type InstanceLinks, type InstanceMachine, THIS_MACHINE } from "./instance-machine.ts";
import { hasAttachments, readDefinition, recordedNetworks, writeDefinition } from "./instance-records.ts";
import {
  NetworkPresence,
  type PreparedPod,
  preparePod,
  type Presence,
  requireJoinable,
} from "../pod-requests/index.ts";
import { Rounds } from "./rounds.ts";
import type { NetworkStatus } from "../observe/index.ts";
import { KeyedMutex } from "../reconcile/index.ts";

/** What the networks need. */
export interface NetworksOptions
  extends Omit<InstanceContext, "blocks" | "networkBlocks" | "places" | "machine" | "readyMs"> {
  /** {@link THIS_MACHINE} by default. */
  machine?: InstanceMachine;
  /** How long the start of a pod waits for its network's data path, in milliseconds; {@link READY_MS} by default. */
  readyMs?: number;
  /** Why the API server cannot be asked; undefined while it can. */
  apiAway: () => string | undefined;
  /** Whether there is any has changed, or a node takes part in one: the plugin must know. */
  onPresence: () => void;
  /** Others are defined, or otherwise. */
  onDefined: () => void;
}

/** Short enough for a pod of many networks to be answered within kubelet's two minutes. */
const READY_MS = 15_000;

/** See the header. */
export class Networks {
  readonly #options: NetworksOptions & Pick<InstanceContext, "machine" | "readyMs">;
  readonly #defined: DefinedNetworks;
  /** Blocks of this node: one watch for all networks, begun when it first takes part in one. */
  readonly #blocks: ObjectReflector<NetworkBlock>;
  /** Blocks of all nodes, in the networks that this node takes part in. */
  readonly #networkBlocks: NetworkBlocks;
  /** Claims of all namespaces, watched from the first one that a network of this node has. */
  readonly #places: ClaimPlaces;
  readonly #instances = new Map<string, NetworkInstance>();
  /** Networks that this node has left, until the Node says so. */
  readonly #left = new Set<string>();
  readonly #idle: IdleNetns;
  /** What is under way with each network. */
  readonly #mutex = new KeyedMutex();
  readonly #rounds: Rounds;
  /** Nothing is left of networks that no pod of this node is in, as far as is known. */
  #tidy = false;
  #tidying: Promise<void> | undefined;
  readonly #presence: NetworkPresence;
  /** Whether there is any, as it was told. */
  #told: Presence;
  #inputs: { inputs: Inputs; live: boolean } | undefined;
  /** Our own Node as it is now; its objects go with it. */
  readonly #node: NodeIdentity;

  constructor(options: NetworksOptions) {
    this.#options = { ...options, machine: options.machine ?? THIS_MACHINE, readyMs: options.readyMs ?? READY_MS };
    const { client, log } = options;
    this.#defined = new DefinedNetworks({ ...options, cluster: () => this.#cluster() });
    this.#presence = new NetworkPresence({ ...options, defined: this.#defined, here: () => this.#instances.size > 0 });
    this.#told = this.#presence.now;
    this.#blocks = watchOwnBlocks(client, options.config.nodeName, log);
    // Also of those that came: one that was never seen to be there would not be missed either.
    this.#blocks.onChange(({ added, changed, removed }) => {
      const touched = [...added, ...removed, ...changed.map(({ before }) => before)];
      for (const network of new Set(touched.map((block) => block.network)))
        this.#instances.get(network)?.blocksChanged();
    });
    this.#idle = new IdleNetns(this.#mutex, log, (network) => this.#instances.has(network));
    this.#networkBlocks = new NetworkBlocks({ client, log });
    this.#places = new ClaimPlaces({ client, log, pods: claimObjects(client) });
    this.#rounds = new Rounds(log);
    this.#node = identityOf(options.config.nodeName, () => this.#inputs?.inputs.own.uid);
  }

  /** Begins to watch. */
  start(): void {
    for (const network of this.#options.machine.listNetworkNetns())
      if (!hasAttachments(this.#options.config, network)) this.#idle.add(network);
    this.#defined.start(() => this.#redefined());
  }

  /** Whether a pod of this node may ask for a network beside the default one. */
  get presence(): Presence {
    return this.#presence.now;
  }

  /** How many are defined, whether they can be or not, and whether the API server knows the resource. */
  get defined(): { known: boolean; count: number } {
    return this.#defined.defined;
  }

  /** CIDRs of all that can be, whether this node has a part in them or not; undefined before that is known. */
  get cidrs(): readonly string[] | undefined {
    return this.#defined.cidrs;
  }

  /** The default network's VNI is known now: none of these may have it. */
  vniKnown(vni: number): void {
    this.#defined.vniKnown(vni);
    this.#redefined();
  }

  /** Why no node has a part in a network; undefined when nodes have. */
  unserved(network: PodNetworkInfo): Obstacle | undefined {
    return this.#defined.unserved(network);
  }

  /** Why pods of a network cannot reach what is outside of it; undefined where they can. */
  noWayOut(name: string): string | undefined {
    const info = this.#defined.accepted.get(name);
    if (!this.#defined.defined.known && !info) return undefined;
    if (!info) return `there is no PodNetwork ${name} that can be`;
    if (info.mode === "Bridged")
      return `PodNetwork ${name} is Bridged: what leaves it leaves through another interface`;
    return info.masquerade ? undefined : `PodNetwork ${name} leads nowhere: its spec.masquerade is not true`;
  }

  #cluster(): ClusterAddresses | undefined {
    const { inputs } = this.#inputs ?? {};
    const { config, rtnl, elsewhere } = this.#options;
    return inputs && clusterAddresses(config, inputs, lookAt(rtnl), elsewhere());
  }

  /** What to say of them on our Node. */
  get entries(): Entries {
    return new Map([
      ...[...this.#left].map((name) => [name, undefined] as const),
      ...[...this.#instances].flatMap(([name, { entry }]) => (entry ? [[name, entry] as const] : [])),
    ]);
  }

  /** New inputs, as for the default network. */
  update(inputs: Inputs, live: boolean, changes: NodeChanges): void {
    const before = this.#node.uid;
    const known = before !== undefined;
    this.#inputs = { inputs, live };
    for (const instance of this.#instances.values()) {
      instance.update(inputs, live, changes);
      if (this.#node.uid !== before) instance.nodeChanged();
    }
    // Blocks belong to our Node, which the cache does not know by its uid.
    if (!known && inputs.own.uid !== undefined) {
      this.#defined.look();
      this.#resumeAll();
    }
    if (!this.#tidy) void this.#tidyUp();
  }

  /** The host's packet filter has changed. */
  firewallChanged(): void {
    for (const instance of this.#instances.values()) instance.firewallChanged();
  }

  look(): void {
    for (const instance of this.#instances.values()) instance.look();
  }

  /** What is heard of the host's namespace. */
  onEvents(events: readonly NetlinkEvent[]): void {
    for (const instance of this.#instances.values()) instance.notice(events);
  }

  /** Something of it was not heard. Whoever listens for changes of the underlay calls {@link look} then. */
  onResync(): void {}

  maintain(): Promise<void> {
    this.#defined.look();
    this.#resumeAll();
    return this.#rounds.go(this.#instances);
  }

  status(): NetworkStatus[] {
    return [...this.#instances.values()].flatMap((instance) => instance.status() ?? []);
  }

  /** Nodes of which it depends on how they stand who gets what in one of them. */
  get contested(): readonly string[] {
    return [...this.#instances.values()].flatMap((instance) => instance.contested);
  }

  sample(): void {
    for (const instance of this.#instances.values()) instance.sample();
  }

  /** Pods' links in the namespace at a path; undefined when it is none of ours. */
  linksAt(path: string): Pick<InstanceLinks, "rtnl" | "attach" | "queue"> | undefined {
    for (const { netns, links } of this.#instances.values()) if (netns.path === path) return links;
    return undefined;
  }

  /** Whether a network namespace is a pod network's. */
  owns(netns: NetnsIdentity): boolean {
    return [...this.#instances.values()].some(({ netns: own }) => sameNetns(netnsIdentity(own.fd), netns));
  }

  /** Whether a pod of a network has an address by what nodes publish, where those tell. */
  uses(network: string, ip: string): boolean {
    return this.#instances.get(network)?.uses(ip) ?? false;
  }

  /** Networks that have, or had, attachments on this node. */
  get recorded(): string[] {
    return recordedNetworks(this.#options.config);
  }

  /**
   * What a pod is to have, with every network of it ready on this node.
   * @throws CniError with the reason why it cannot have it
   */
  async prepare(request: PrepareRequest, keeper: NetnsMounter): Promise<PreparedPod> {
    await this.#idle.sweep(keeper);
    const isDefault = request.network === this.#options.config.network;
    if (!(await this.#presence.mayAsk(request.pod)) && isDefault) return { additional: [] };
    return preparePod(request, {
      ...this.#options,
      defined: this.#defined,
      own: this.#inputs?.inputs.own,
      join: (networks) => this.#joinAll(networks, keeper),
      keeperOf: (name) => this.#instances.get(name),
    });
  }

  /** How a network stands that a pod may come to. @throws CniError with the reason why none can come to it now */
  joinable(network: string): "joined" | "not joined" {
    const { config, apiAway } = this.#options;
    const isDefault = network === config.network;
    if (isDefault) this.#presence.require();
    if (!isDefault || this.presence === "some")
      requireJoinable(network, isDefault ? undefined : this.#defined, apiAway());
    return isDefault || this.#instances.has(network) ? "joined" : "not joined";
  }

  /** The link of an attachment is there; resolves when its network serves it. @throws CniError */
  async linked(attachment: Linked): Promise<void> {
    await this.#instances.get(attachment.network)?.linked(attachment);
  }

  /** An attachment of a network is gone: with its last one this node leaves the network. */
  async leaveIfEmpty(network: string, keeper: NetnsMounter | undefined): Promise<void> {
    const here = this.#instances.get(network);
    if (!here) return;
    here.detached();
    await this.#mutex.run(network, async () => {
      const instance = this.#instances.get(network);
      if (!instance?.empty) return;
      this.#options.log.info("the last pod of a network has gone: leaving it", { network });
      await this.#leave(instance);
    });
    if (keeper) await this.#idle.sweep(keeper);
  }

  /** @throws ApiError when a block cannot be given back */
  async #leave(instance: NetworkInstance): Promise<void> {
    const { name } = instance;
    this.#instances.delete(name);
    this.#left.add(name);
    this.#idle.add(name);
    try {
      await instance.leave();
    } finally {
      this.#options.announce();
    }
  }

  /** Leaves every network that no attachment of this node is in, as one that was joined for a pod that then did not come. */
  async leaveEmpty(): Promise<void> {
    for (const name of this.#instances.keys()) await this.leaveIfEmpty(name, undefined);
    await this.#tidyUp();
  }

  /** Takes away what is left of networks that no pod here is in; what fails is tried again when dead pods are collected next. */
  #tidyUp(): Promise<void> {
    this.#tidying ??= this.#takeLeftovers().finally(() => {
      this.#tidying = undefined;
    });
    return this.#tidying;
  }

  async #takeLeftovers(): Promise<void> {
    const { live, inputs: { own } = {} } = this.#inputs ?? {};
    const { config, log, machine, announce } = this.#options;
    if (!live || own?.uid === undefined) return;
    if (this.#tidy && definedHere(config).every((name) => this.#instances.has(name))) return;
    // Before: what is found to be in use yet makes it false.
    this.#tidy = true;
    try {
      const named = machine.listNetworkNetns();
      for (const [network, left] of await findLeftovers(this.#options, own, named))
        await this.#mutex.run(network, async () => {
          if (this.#instances.has(network)) return;
          if (hasPods(this.#options, network)) {
            this.#tidy = false;
            return;
          }
          await removeLeftovers(this.#options, network, left);
          this.#left.add(network);
          if (named.includes(network)) this.#idle.add(network);
        });
      announce();
    } catch (error) {
      this.#tidy = false;
      log.warn("what is left of networks without pods on this node cannot be taken away; it is tried again", { error });
    }
  }

  async stop(): Promise<void> {
    await Promise.all([this.#defined.stop(), this.#blocks.stop()]);
    await this.#tidying;
    await this.#mutex.settled();
    for (const instance of this.#instances.values()) await instance.stop();
    await Promise.all([this.#networkBlocks.stop(), this.#places.stop()]);
  }

  #redefined(): void {
    for (const instance of this.#instances.values()) this.#redefine(instance);
    this.#presence.remember();
    if (this.presence !== this.#told) this.#options.onPresence();
    this.#told = this.presence;
    this.#options.onDefined();
    this.#resumeAll();
  }

  #redefine(instance: NetworkInstance): void {
    const now = this.#defined.accepted.get(instance.name);
    if (now?.uid === instance.info.uid) instance.redefine(now);
  }

  /** Takes part again in all networks that have pods here. */
  #resumeAll(): void {
    if (this.#inputs?.inputs.own.uid === undefined) return;
    // Records may be lost under pods that run, whose links are in the namespace still.
    const names = new Set([...this.recorded, ...this.#options.machine.listNetworkNetns()]);
    for (const name of names) if (!this.#instances.has(name)) void this.#resume(name);
  }

  /** Takes part again in a network whose pods were here before this agent. */
  async #resume(name: string): Promise<void> {
    if (this.#instances.has(name)) return;
    try {
      await this.#mutex.run(name, async () => {
        // What is left of a network whose pods have gone.
        if (this.#instances.has(name) || !hasPods(this.#options, name)) return;
        // The very network that they are in, which need not be the one of that name now.
        const info = readDefinition(this.#options.config, name) ?? this.#defined.accepted.get(name);
        if (!info) return;
        const netns = this.#options.machine.openNetworkNetns(name);
        // Without a namespace its pods are gone as well: the node has booted since.
        if (netns) await this.#enter(info, netns).prepare();
      });
    } catch (error) {
      this.#options.log.error("a pod network of this node's pods cannot be looked after", { network: name, error });
    }
  }

  /** All at once: what they change in the host's packet filter and on our Node is then a change or two. @throws what the first one that fails does */
  async #joinAll(names: Iterable<string>, keeper: NetnsMounter): Promise<void> {
    const outcomes = await Promise.allSettled(Array.from(names, (name) => this.#join(name, keeper)));
    for (const outcome of outcomes) if (outcome.status === "rejected") throw outcome.reason;
  }

  #join(name: string, keeper: NetnsMounter): Promise<void> {
    return this.#mutex.run(name, async () => {
      const info = this.#defined.accepted.get(name);
      const there = this.#instances.get(name);
      if (!info || (there && there.info.uid !== info.uid)) throw predecessorHasPods(name, "this node");
      const instance = there ?? this.#enter(info, await heldNetns(this.#options.machine, name, keeper));
      try {
        await instance.prepare();
        await instance.hold();
      } catch (error) {
        // Nobody has come yet, and what it has claimed would keep the network from going. One that only takes longer goes on coming:
        // a busy node would never have it if each request began anew. Housekeeping leaves it where nobody asks again.
        const late = error instanceof NotReadyYet;
        if (!there && !late && instance.empty) await this.#leave(instance);
        throw error;
      }
    });
  }

  #enter(info: PodNetworkInfo, netns: NetworkNetns): NetworkInstance {
    const { name } = info;
    if (this.#node.uid === undefined || !this.#inputs) {
      netns.close();
      const why = this.#inputs?.live
        ? `while there is no Node ${this.#node.name}`
        : "before the API server has answered";
      throw new CniError(CODE.tryAgain, `pod network "${name}" cannot be joined ${why}`);
    }
    this.#blocks.start();
    let instance: NetworkInstance;
    try {
      const more = { blocks: this.#blocks, networkBlocks: this.#networkBlocks, places: this.#places };
      instance = new NetworkInstance({ ...this.#options, ...more }, info, netns, this.#node);
      writeDefinition(this.#options.config, info);
    } catch (error) {
      netns.close();
      throw error;
    }
    this.#instances.set(name, instance);
    this.#left.delete(name);
    instance.take(this.#inputs.inputs, this.#inputs.live);
    this.#redefine(instance);
    this.#options.log.info("the first pod of a network has come: taking part in it", { network: name, vni: info.vni });
    this.#options.onPresence();
    return instance;
  }
}
