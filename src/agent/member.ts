/**
 * This node's part in a pod network beside the default one: a network namespace, blocks of addresses, and a {@link PodNetwork}
 * that keeps the data path there. It lasts from the first pod of the network on this node to the last.
 */
import { rmSync } from "node:fs";
import { familyOf } from "../addr/index.ts";
import { CniError, CODE, ipamDir, realHost } from "../cni/index.ts";
import { type AgentConfig, publishedPath } from "../config/index.ts";
import { Ipam } from "../ipam/index.ts";
import { type KubeClient, ObjectReflector } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import type { Space } from "../netspace/index.ts";
import { BlockClaims, blockObjects } from "../blocks/index.ts";
import {
  NETWORK_BLOCKS,
  NETWORK_LABEL,
  type NetworkBlock,
  parseNetworkBlock,
  type PodNetworkInfo,
  sameObject,
} from "../networks/index.ts";
import type { LocalNetwork, VtepAnnotation } from "../overlay/index.ts";
import { ensurePublished } from "./files.ts";
import type { NodeFirewall } from "./firewall.ts";
import type { Inputs, NodeChanges, OwnFacts } from "./inputs.ts";
import { MemberFirewall } from "./member-firewall.ts";
import type { Metrics } from "./metrics.ts";
import { PodNetwork } from "./network.ts";
import type { NetnsWatch } from "./netns-watch.ts";
import { PodLinks } from "./pod-links.ts";
import type { Verdict } from "./report.ts";
import type { NetworkStatus } from "./status.ts";

/** How long the start of a pod waits for its network's data path, in milliseconds; then its runtime asks again. */
const READY_MS = 15_000;

/** What members have in common. */
export interface MemberContext {
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  client: KubeClient;
  /** For looking at the machine. */
  rtnl: Rtnl;
  firewall: Pick<NodeFirewall, "set" | "remove" | "changePeers" | "verdict">;
  announce: () => void;
  announced: (network: string) => Verdict;
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

/** The agent's configuration as one network's: what is said of the default network replaced by what this one is. */
const configOf = (config: AgentConfig, { name, vni, mtu, cidrs }: PodNetworkInfo): AgentConfig => ({
  ...config,
  network: name,
  vni,
  mtu: mtu ?? "auto",
  clusterCidrs: [...cidrs],
  masquerade: { enabled: false, exclude: [] },
  // In a namespace of its own there is no underlay to which a plain route could lead.
  directRouting: "off",
});

/** See the header. */
export class Member {
  readonly info: PodNetworkInfo;
  readonly space: Space;
  /** Its pods' links. */
  readonly links: PodLinks;
  /** What is heard in the namespace. */
  readonly #watch: NetnsWatch;
  readonly #context: MemberContext;
  readonly #config: AgentConfig;
  readonly #blocks: BlockClaims;
  readonly #firewall: MemberFirewall;
  readonly #network: PodNetwork;
  /** Blocks of the network, all nodes'. */
  readonly #seen: ObjectReflector<NetworkBlock>;
  #inputs: { inputs: Inputs; live: boolean } | undefined;
  #own: { of: OwnFacts; cidrs: string; facts: OwnFacts } | undefined;
  /** What the plugin has been told, and who waits for that. */
  #written: LocalNetwork | undefined;
  #waiting: (() => void)[] = [];

  /**
   * Takes over the space. @param node our own Node, to which blocks belong. @throws SysError when no socket can be opened
   */
  constructor(context: MemberContext, info: PodNetworkInfo, space: Space, node: { name: string; uid: string }) {
    const { metrics, client, rtnl, firewall, announce, announced, event } = context;
    const log = context.log.child({ network: info.name });
    this.info = info;
    this.space = space;
    this.#context = context;
    this.#config = configOf(context.config, info);
    const config = this.#config;
    const netns = space.fd;
    this.links = new PodLinks({ config, log, metrics, netns, routed: info.mode === "Routed" });
    this.#watch = this.links.watched(netns);
    const { name: network, cidrs, blockSize } = info;
    this.#seen = new ObjectReflector(
      client,
      {
        what: `blocks of network ${network}`,
        path: NETWORK_BLOCKS,
        labelSelector: `${NETWORK_LABEL}=${network}`,
        parse: parseNetworkBlock,
        same: sameObject,
      },
      { log },
    );
    this.#blocks = new BlockClaims({
      network,
      cidrs,
      blockSize,
      node: node.name,
      nodeUid: node.uid,
      objects: blockObjects(client),
      view: () => this.#seen.objects.values(),
      ipam: new Ipam({ dir: ipamDir(config), warn: (message) => log.warn(message) }),
      onProblem: (message) => event("Warning", "SkylaneBlockLost", message),
    });
    this.#seen.start();
    this.#firewall = new MemberFirewall({
      network,
      host: firewall,
      netns,
      log,
      metrics,
      onApplied: () => this.#network.filesChanged(),
    });
    this.#network = new PodNetwork({
      config,
      log,
      metrics,
      rtnl,
      firewall: this.#firewall,
      space: { netns, rtnl: this.links.rtnl },
      watch: (listener) => this.#watch.also(listener),
      announce,
      announced: () => announced(network),
      write: (local) => this.#publish(local),
      event,
    });
    this.links.look();
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
    if (this.#blocks.usable().length === 0) return;
    this.#network.update({ ...inputs, own: this.#ownFacts(inputs.own) }, live, changes);
  }

  /** The host's table has changed. */
  firewallChanged(): void {
    this.#network.filesChanged();
  }

  status(): NetworkStatus | undefined {
    return this.#network.status();
  }

  sample(): void {
    this.#network.sample();
  }

  look(): void {
    this.#network.look();
  }

  async maintain(): Promise<void> {
    for (const change of this.space.settle())
      this.#context.log.warn(`put a setting of ${this.space.name} right: ${change}`);
    const before = this.#blocks.usable().length;
    await this.#blocks.releaseSurplus();
    if (this.#blocks.usable().length !== before) this.#refresh();
    await this.#network.maintain();
  }

  /**
   * Makes sure that there is an address left in every family, and that the data path works: pods may come.
   * @throws CniError, BlockError
   */
  async prepare(): Promise<void> {
    await this.#within(this.#seen.whenSynced(), () => new Error("the API server has not listed its blocks yet"));
    await this.#blocks.ensureRoom(this.info.cidrs.map(familyOf));
    this.#refresh();
    await this.#ready();
  }

  /** Whether no attachment of it is on this node, none that is being made or taken back either. */
  get empty(): boolean {
    return realHost.attachments(this.#config).list().length === 0;
  }

  /** Leaves the data path and everything else as it is. */
  async stop(): Promise<void> {
    await this.#seen.stop();
    await this.#network.stop();
    await this.#firewall.stop();
    await this.#close();
  }

  /** Takes everything of the network off this node but the name of its namespace. @throws ApiError when a block cannot be given back */
  async leave(): Promise<void> {
    rmSync(publishedPath(this.#config.runDir, this.name), { force: true });
    await this.#network.stop();
    await this.#firewall.remove();
    const { rtnl } = this.links;
    for (const { kind, index, name } of rtnl.links()) {
      if (kind === "vxlan") rtnl.execute({ op: "del", kind: "link", link: { index, name } });
    }
    await this.#close();
    await this.#blocks.leave();
    await this.#seen.stop();
  }

  /** Lets go of the namespace. */
  async #close(): Promise<void> {
    await this.#watch.close();
    await this.links.stop();
    this.space.close();
  }

  #ownFacts(of: OwnFacts): OwnFacts {
    const cidrs = this.#blocks.usable().join(" ");
    // Another object only when it says something else: that is how a change is noticed.
    if (this.#own?.of !== of || this.#own.cidrs !== cidrs)
      this.#own = { of, cidrs, facts: { ...of, podCidrs: this.#blocks.usable() } };
    return this.#own.facts;
  }

  #refresh(): void {
    if (this.#inputs) this.update(this.#inputs.inputs, this.#inputs.live, new Map());
  }

  /** Resolves when the plugin can give addresses out of all blocks. @throws CniError 11 */
  async #ready(): Promise<void> {
    const wanted = this.#blocks.usable().join(" ");
    while (this.#written?.podCidrs.join(" ") !== wanted) {
      const next = new Promise<void>((resolve) => this.#waiting.push(resolve));
      await this.#within(next, () => this.#notReady());
    }
  }

  /** Waits for something, but not for ever. @param late makes the error to throw then */
  async #within(coming: Promise<void>, late: () => Error): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>();
    const timer = setTimeout(() => reject(late()), READY_MS);
    try {
      await Promise.race([coming, promise]);
    } finally {
      clearTimeout(timer);
    }
  }

  #notReady(): CniError {
    const unmet = this.#network.questions().find(({ name, ask }) => name !== "published" && !ask().ok);
    const why = unmet ? `${unmet.name}: ${unmet.ask().message}` : "its files are not written yet";
    return new CniError(
      CODE.tryAgain,
      `pod network "${this.name}" is not ready on this node yet (${why})`,
      "The data path is being made; the agent's log says what it waits for.",
    );
  }

  #publish(local: LocalNetwork): void {
    const { log } = this.#context;
    const { path } = this.space;
    const extra = { hostNetns: path, destinations: [...this.info.cidrs], needsAgent: true };
    ensurePublished(this.#config.runDir, local, extra, log);
    this.#written = local;
    for (const tell of this.#waiting.splice(0)) tell();
  }
}
