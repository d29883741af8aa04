/**
 * One pod network on this node, from inputs to a working data path. What follows from the latest inputs and the
 * machine's addresses is worked out whenever either changes, and handed to those who make it true: the data path's
 * reconciler, the firewall, the Node's annotation, the files that the CNI plugin and the runtime read. There
 * is no other state than what was last worked out, so every change, from a first start to a moved address, is
 * the same event; one of other Nodes alone is the same for its peers alone.
 */
import { type Family, familyOf } from "../addr/index.ts";
import type { NetworkConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import type { Rtnl } from "../netlink/index.ts";
import type { LocalNetwork, VtepAnnotation, WireguardIdentity } from "../peers/index.ts";
import { Task } from "../reconcile/index.ts";
import type { DataPath, MakeDataPath } from "../data-path/index.ts";
import type { DataPathListener, Metrics, NetworkStatus, Question, CheckResult } from "../observe/index.ts";
import { DirectRoutes, lookAt } from "../host/index.ts";
import type { NodeFirewall } from "../firewall/index.ts";
import {
  type Elsewhere,
  type Inputs,
  type NodeChanges,
  ownEntry,
  sameBesideOurWord,
  vniOf,
  Waiting,
} from "../nodes/index.ts";
import { familyInUse, localChanges, publishedIp, resolveLocal } from "./local.ts";
import { Peers } from "./network-peers.ts";
import { filesVerdict, type NetworkView, questionsOf, sampleInto, statusOf } from "./report.ts";
import type { Underlay } from "./underlay.ts";
import { SelfTest, type TestedPeers } from "./selftest.ts";

const RETRY = { baseMs: 500, maxMs: 30_000 };

/** What a network is given. */
export interface NetworkOptions {
  config: NetworkConfig;
  log: Logger;
  metrics: Metrics;
  /** For looking at the machine; the reconciler has its own. */
  rtnl: Rtnl;
  firewall: Pick<NodeFirewall, "set" | "changePeers" | "verdict">;
  /** The network namespace of the network's device and of its pods' host ends; the agent's own by default. */
  inside?: { netns: number; rtnl: Rtnl };
  /** What the other nodes are to know may have changed: see {@link PodNetwork.entry}. */
  announce: () => void;
  /** Whether they can know it. */
  announced: () => CheckResult;
  /** Writes the files from which the node's pods come about. @throws Error of the system */
  write: (local: LocalNetwork) => void;
  /** Makes the data path. */
  dataPath: MakeDataPath;
  /** Its pods are on bridges, so that there are no routes to peers that could be tested. */
  bridged?: boolean;
  /** The network's VNI is known now. */
  onVni?: (vni: number) => void;
  /** How this node takes what is encrypted, where it does: for the other nodes to know. */
  wireguard?: () => WireguardIdentity | undefined;
  /** The API server's addresses and the Services' CIDRs. */
  elsewhere?: () => Elsewhere;
  /** Emits an Event on our Node. */
  event: (type: "Normal" | "Warning", reason: string, message: string) => void;
}

const NO_PEERS: TestedPeers = { size: 0, has: () => false, sample: () => [] };

/** Keeps one pod network working. */
export class PodNetwork {
  readonly #options: NetworkOptions;
  readonly #log: Logger;
  readonly #waiting: Waiting;
  readonly #peers: Peers;
  readonly #selfTest: SelfTest;
  readonly #direct: DirectRoutes;
  readonly #start: Task;
  readonly #files: Task;
  #inputs: Inputs | undefined;
  #live = false;
  #local: LocalNetwork | undefined;
  #underlay: Underlay | undefined;
  /** The family of the underlay address at the start. */
  #family: Family | undefined;
  #path: DataPath | undefined;
  /** The reconciler has finished a pass: its status is of the kernel. */
  #looked = false;
  /** The data path has worked since this agent started: files may say so. */
  #worked = false;
  /** What the files say. */
  #written: LocalNetwork | undefined;
  #warned = "";
  #evaluation: NodeJS.Immediate | undefined;
  #stopped = false;

  constructor(options: NetworkOptions) {
    this.#options = options;
    const { log, metrics, rtnl, inside, event } = options;
    this.#log = log;
    this.#peers = new Peers({
      ...options,
      path: () => this.#path,
      onRefused: ({ node, reason, message }) =>
        event("Warning", "SkylanePeerRefused", `${node}: ${reason}: ${message}`),
    });
    this.#waiting = new Waiting(log, (reason, message) => event("Warning", reason, message));
    this.#selfTest = new SelfTest(inside?.rtnl ?? rtnl, metrics);
    this.#direct = new DirectRoutes(log);
    const task = (run: () => void | Promise<void>, complaint: string) =>
      new Task(run, RETRY, (error, attempt) => {
        if (attempt === 1) log.error(`${complaint}; trying again`, { error });
      });
    this.#start = task(() => this.#startDataPath(), "the data path cannot be started");
    this.#files = task(() => this.#writeFiles(), "cannot write the CNI configuration, so pods cannot come yet");
  }

  /** New inputs; `live` when they are the API server's. @param changes of the Nodes since the last call */
  update(inputs: Inputs, live: boolean, changes: NodeChanges): void {
    const before = this.#inputs?.own;
    const others =
      before !== undefined && sameBesideOurWord(before, inputs.own) && this.#live === live && this.#peers.chosen;
    this.#inputs = inputs;
    this.#live = live;
    this.#peers.note(changes);
    if (!others || !this.#local || this.#stopped) {
      this.look();
      return;
    }
    // Other Nodes have no bearing on what this one is; what ours says may have been changed by somebody else.
    this.#peers.choose(this.#local, inputs.nodes);
    if (before !== inputs.own) this.#options.announce();
  }

  /** Our own Node does not exist (yet). */
  noNode(name: string): void {
    if (!this.#inputs)
      this.#waiting.for("node", `there is no Node ${name} yet; does kubelet run here, and under this name (nodeName)?`);
  }

  /** Something of the machine or the inputs may have changed: work everything out anew, once for all calls of a turn. */
  look(): void {
    if (this.#stopped) return;
    this.#evaluation ??= setImmediate(() => {
      this.#evaluation = undefined;
      try {
        this.#evaluate();
      } catch (error) {
        this.#log.error("this machine's addresses cannot be read; looking again soon", { error });
      }
    });
  }

  /** The packet filter's rules are in place, or are no longer, or what the files say beside this network has changed. */
  filesChanged(): void {
    this.#files.want();
  }

  /** What is looked at from time to time without any event: the files, and the data path itself. */
  async maintain(): Promise<void> {
    this.look();
    if (this.#worked && this.#local) await this.#ask(this.#local);
    this.#files.want();
    this.#options.announce();
  }

  /** What the other nodes are to know; undefined until peers may send to us, which is when there is a device that receives. */
  get entry(): VtepAnnotation | undefined {
    if (!this.#live || !this.#looked || !this.#local || !this.#underlay) return undefined;
    if (this.#path?.error !== undefined) return undefined;
    const { claims = false } = this.#path ?? {};
    return ownEntry(this.#local, this.#underlay.publicIps ?? this.#underlay.ips, {
      direct: this.#direct.open,
      claims,
      wireguard: this.#options.wireguard?.(),
    });
  }

  /** Nodes of which it depends on how they stand who gets what. */
  get contested(): readonly string[] {
    return this.#peers.contested;
  }

  /** The network's lines of `/readyz`. */
  questions(): Question[] {
    return questionsOf(this.#view());
  }

  /** The network's part of `/status`; undefined until it has been worked out what it is. */
  status(): NetworkStatus | undefined {
    return statusOf(this.#view());
  }

  /** Sets the network's gauges. */
  sample(): void {
    sampleInto(this.#options.metrics, this.#options.config.network, this.#view());
  }

  /** Leaves the data path as it is and stops everything else. */
  async stop(): Promise<void> {
    this.#stopped = true;
    clearImmediate(this.#evaluation);
    // A start that waits for something ends with the path.
    await Promise.all([this.#start.stop(), this.#files.stop(), this.#path?.stop()]);
  }

  /** Peers to which there are routes that can be tested. */
  get #tested(): TestedPeers {
    return this.#options.bridged ? NO_PEERS : this.#peers;
  }

  /** Tests the data path; peers are asked where they can be from the agent's own network namespace. */
  async #ask(local: LocalNetwork): Promise<void> {
    const peers = this.#tested;
    if (this.#options.inside) this.#selfTest.check(local, peers);
    else await this.#selfTest.run(local, peers);
  }

  #view(): NetworkView {
    return {
      waiting: this.#waiting.current?.message ?? (this.#inputs ? undefined : "nothing is known of the cluster yet"),
      local: this.#local,
      peers: this.#peers.all.size,
      overlay: this.#looked ? this.#path?.status() : undefined,
      worked: this.#worked,
      firewall: this.#options.firewall.verdict(this.#options.config.network),
      selfTest: this.#selfTest.verdict,
      published: this.#live
        ? this.#options.announced()
        : { ok: true, message: "not while the API server is away: the other nodes know this one as it was" },
      files: filesVerdict(this.#worked, this.#files.error),
      refused: this.#peers.refused,
      losses: this.#peers.losses,
    };
  }

  #evaluate(): void {
    const inputs = this.#inputs;
    if (!inputs || this.#stopped) return;
    const { config, rtnl, inside, elsewhere } = this.#options;
    const machine = lookAt(rtnl);
    const settled = { ...config, vni: this.#local?.vni ?? vniOf(config, inputs, machine.links) };
    const result = resolveLocal(settled, inputs.own, machine, {
      current: this.#underlay?.ip ?? publishedIp(inputs.own.vtepAnnotation, config.network),
      family: this.#family ?? familyInUse(inputs, config.network),
      isolated: inside !== undefined,
      elsewhere: elsewhere?.(),
    });
    if ("missing" in result) this.#waiting.for(result.missing, result.message);
    else {
      this.#waiting.over();
      this.#underlay = result.underlay;
      this.#family ??= familyOf(result.underlay.ip);
      this.#adopt(result.local, result.warnings);
    }
    // With something of our own missing for now, the data path goes on as it was, and peers come and go.
    if (!this.#local) return;
    if (config.directRouting === "auto" && this.#underlay)
      this.#peers.route(this.#local, this.#direct.look(this.#underlay.ips, machine));
    this.#peers.choose(this.#local, inputs.nodes);
    if (!this.#path) this.#start.want();
    this.#options.announce();
  }

  #adopt(local: LocalNetwork, warnings: readonly string[]): void {
    const text = warnings.join("\n");
    if (text !== this.#warned) for (const warning of warnings) this.#log.warn(warning);
    this.#warned = text;
    const before = this.#local;
    if (!before) {
      this.#local = local;
      const { device, mtu, mac, underlayIp, podCidrs } = local;
      this.#log.info("this node's part of the pod network", { device, mtu, mac, underlayIp, podCidrs });
      this.#options.onVni?.(local.vni);
      return;
    }
    const changes = localChanges(before, local);
    if (changes.length === 0) return;
    this.#local = local;
    this.#log.info(`this node's part of the pod network has changed: ${changes.join(", ")}`);
    this.#path?.setLocal(local);
  }

  async #startDataPath(): Promise<void> {
    if (this.#path || !this.#local) return;
    const path = this.#options.dataPath(this.#local, this.#listener());
    path.setPeers(this.#peers.routed());
    this.#path = path;
    try {
      await path.start();
    } catch (error) {
      this.#path = undefined;
      await path.stop();
      throw error;
    }
  }

  #listener(): DataPathListener {
    const count = this.#options.metrics.ofPasses(this.#options.config.network);
    return {
      ...count,
      onError: (error) => {
        this.#looked = true;
        count.onError(error);
      },
      onPass: (report) => {
        count.onPass(report);
        this.#looked = true;
        if (this.#written !== this.#local) this.#files.want();
        this.#options.announce();
      },
    };
  }

  /** The plugin's and the runtime's files: first once the data path works, then whenever they should say something else. */
  #writeFiles(): void {
    const local = this.#local;
    const path = this.#path;
    if (!local || !path || !this.#looked || path.error !== undefined) return;
    if (!this.#worked) {
      // A peer that the kernel refuses must not keep this node from having pods; one that is not tried yet may.
      if (!path.tried || !this.#options.firewall.verdict(this.#options.config.network).ok) return;
      const peers = this.#tested;
      const { ok, message } = this.#selfTest.check(local, peers);
      if (!ok) throw new Error(`the self-test of the data path failed: ${message}`);
      this.#log.info("the data path works", { peers: peers.size, selfTest: message });
      this.#worked = true;
      // Whether a peer answers is worth knowing, and nothing to wait for.
      void this.#ask(local);
    }
    this.#options.write(local);
    this.#written = local;
  }
}
