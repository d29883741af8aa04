/**
 * This node's part in a pod network beside the default one: a network namespace, blocks of addresses, and a {@link PodNetwork}
 * that keeps the data path there. It lasts from the first pod of the network on this node to the last.
 */
import { rmSync } from "node:fs";
import { familyOf } from "../addr/index.ts";
import { CniError, CODE, ipamDir, realHost } from "../cni/index.ts";
import { type AgentConfig, publishedPath } from "../config/index.ts";
import { Ipam } from "../ipam/index.ts";
import type { KubeClient, ObjectReflector } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { Rtnl } from "../netlink/index.ts";
import type { Space } from "../netspace/index.ts";
import { BlockClaims, blockObjects, takenBlocks } from "../blocks/index.ts";
import type { NetworkBlock, PodNetworkInfo } from "../networks/index.ts";
import type { LocalNetwork, VtepAnnotation } from "../overlay/index.ts";
import { PATIENCE_MS } from "../pod/index.ts";
import { ensurePublished } from "./files.ts";
import type { NodeFirewall } from "./firewall.ts";
import type { Inputs, NodeChanges, OwnFacts } from "./inputs.ts";
import { MemberFirewall } from "./member-firewall.ts";
import type { Metrics } from "./metrics.ts";
import { PodNetwork } from "./network.ts";
import type { Verdict } from "./report.ts";
import type { NetworkStatus } from "./status.ts";

/** How long the start of a pod waits for its network's data path, in milliseconds; then its runtime asks again. */
const READY_MS = 15_000;

/** Whether an attachment of a network is on this node. @throws Error of the system */
export const hasAttachments = ({ dataDir }: Pick<AgentConfig, "dataDir">, network: string): boolean =>
  realHost.attachments({ dataDir, network }).list().length > 0;

/** What members have in common. */
export interface MemberContext {
  config: AgentConfig;
  log: Logger;
  metrics: Metrics;
  client: KubeClient;
  /** For looking at the machine. */
  rtnl: Rtnl;
  firewall: Pick<NodeFirewall, "set" | "remove" | "changePeers" | "verdict">;
  /** The blocks of this node, all networks'. */
  blocks: Pick<ObjectReflector<NetworkBlock>, "objects" | "whenSynced">;
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
  /** A conversation with the network's namespace, as patient as pods' links need it. */
  readonly rtnl: Rtnl;
  readonly #context: MemberContext;
  readonly #config: AgentConfig;
  readonly #blocks: BlockClaims;
  readonly #firewall: MemberFirewall;
  readonly #network: PodNetwork;
  #inputs: { inputs: Inputs; live: boolean } | undefined;
  #own: { of: OwnFacts; cidrs: string; facts: OwnFacts } | undefined;
  /** What the plugin has been told, and who waits for that. */
  #written: LocalNetwork | undefined;
  #waiting: (() => void)[] = [];

  /** @param node our own Node, to which blocks belong. */
  constructor(context: MemberContext, info: PodNetworkInfo, space: Space, node: { name: string; uid: string }) {
    const { metrics, client, rtnl, firewall, announce, announced, event } = context;
    const log = context.log.child({ network: info.name });
    this.info = info;
    this.space = space;
    this.#context = context;
    this.#config = configOf(context.config, info);
    this.rtnl = Rtnl.open({ netns: space.fd, timeoutMs: PATIENCE_MS });
    const { name: network, cidrs, blockSize } = info;
    this.#blocks = new BlockClaims({
      network,
      cidrs,
      blockSize,
      node: node.name,
      nodeUid: node.uid,
      objects: blockObjects(client),
      view: () => context.blocks.objects.values(),
      taken: () => takenBlocks(client, network),
      ipam: new Ipam({ dir: ipamDir(this.#config), warn: (message) => log.warn(message) }),
      onProblem: (message) => event("Warning", "SkylaneBlockLost", message),
    });
    this.#firewall = new MemberFirewall({
      network,
      host: firewall,
      netns: space.fd,
      log,
      metrics,
      onApplied: () => this.#network.filesChanged(),
    });
    this.#network = new PodNetwork({
      config: this.#config,
      log,
      metrics,
      rtnl,
      firewall: this.#firewall,
      space: { netns: space.fd, rtnl: this.rtnl },
      announce,
      announced: () => announced(network),
      write: (local) => this.#publish(local),
      event,
    });
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
    const status = this.#network.status();
    return status && { ...status, mode: this.info.mode };
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
    await this.#within(
      this.#context.blocks.whenSynced(),
      () => new Error("the API server has not listed this node's blocks yet"),
    );
    await this.#blocks.ensureRoom(this.info.cidrs.map(familyOf));
    this.#refresh();
    await this.#ready();
  }

  /** Whether no attachment of it is on this node, none that is being made or taken back either. */
  get empty(): boolean {
    return !hasAttachments(this.#config, this.name);
  }

  /** Leaves the data path and everything else as it is. */
  async stop(): Promise<void> {
    await this.#network.stop();
    await this.#firewall.stop();
    this.rtnl.close();
    this.space.close();
  }

  /** Takes everything of the network off this node but the name of its namespace. @throws ApiError when a block cannot be given back */
  async leave(): Promise<void> {
    rmSync(publishedPath(this.#config.runDir, this.name), { force: true });
    await this.#network.stop();
    await this.#firewall.remove();
    for (const device of this.rtnl.links()) {
      const { kind, index, name } = device;
      if (kind === "vxlan") this.rtnl.execute({ op: "del", kind: "link", link: { index, name } });
    }
    this.rtnl.close();
    this.space.close();
    await this.#blocks.leave();
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
