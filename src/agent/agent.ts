/**
 * The agent as a whole: puts the parts together, and takes them apart again without touching the data path.
 */
import { join } from "node:path";
import type { AgentConfig } from "../config/index.ts";
import { connect, type NodeEvent, NodeEvents, patchNodeCondition } from "../kube/index.ts";
import type { LogLevel, RootLogger } from "../log/index.ts";
import { type MonitorListener, Rtnl } from "../netlink/index.ts";
import type { LocalNetwork } from "../peers/index.ts";
import {
  type CachedInputs,
  cachePath,
  CacheWriter,
  ClusterView,
  deviceThere,
  type Entries,
  type Inputs,
  loadCache,
  type NodeChanges,
  ReservedElsewhere,
} from "../nodes/index.ts";
import { NodeFiles } from "./disk/node-files.ts";
import { DiskControlLoop } from "./disk/control-loop.ts";
import { Housekeeping } from "./housekeeping.ts";
import { NodeFirewall } from "../firewall/index.ts";
import type { Host } from "../cni/index.ts";
import { CNI_SOCKET, RuntimePlugins, servingHost, type ServingHostOptions } from "../cni-server/index.ts";
import type { NetnsMounter } from "../dataplane/netns/index.ts";
import {
  claimNode,
  type NetnsWatch,
  NetworkAvailable,
  type NodeClaim,
  removeDrafts,
  watchMachine,
} from "../host/index.ts";
import { PolicyEngine, policyRoutes } from "../enforcement/index.ts";
import { NetworkStatusWriter, OutsidePods, UnservedPods } from "../pod-requests/index.ts";
import { PodLinks } from "../host-ends/index.ts";
import { agentRoutes, type AgentStatus, assess, type CheckResult, Metrics, type Readiness } from "../observe/index.ts";
import { type MakeDataPath, routedPath } from "../data-path/index.ts";
import { PodNetwork } from "../network/index.ts";
import { NetworkStatuses, ownNamespace } from "../controller/index.ts";
import { Networks } from "../instances/index.ts";
import { BandwidthOfAgent } from "./bandwidth.ts";
import { egressOf } from "./egress/index.ts";
import { Beside } from "./beside/beside.ts";
import { Grants } from "./grants.ts";
import { OwnWord } from "./own-word.ts";
import { type HostPortsOfAgent, keepHostPorts } from "./host-ports.ts";
import { Serving, SOCKET_NAME } from "./serving.ts";
import { Settled } from "./settled.ts";
import { shared } from "./shared.ts";
import { isUplink } from "../dataplane/uplink/index.ts";

/** A running agent. */
export class Agent {
  readonly #config: AgentConfig;
  readonly #log: RootLogger;
  readonly #version: string;
  readonly #metrics: Metrics;
  readonly #network: PodNetwork;
  readonly #plugins: RuntimePlugins;
  readonly #networks: Networks;
  readonly #networkStatus: NetworkStatusWriter;
  readonly #statuses: NetworkStatuses;
  readonly #word: OwnWord;
  readonly #available: NetworkAvailable;
  readonly #cluster: ClusterView;
  readonly #housekeeping: Housekeeping;
  readonly #podLinks: PodLinks;
  readonly #outside: OutsidePods;
  readonly #policies: PolicyEngine;
  readonly #hostPorts: HostPortsOfAgent;
  readonly #bandwidth: BandwidthOfAgent;
  readonly #egress: ReturnType<typeof egressOf>;
  readonly #grants = new Grants();
  readonly #disk: DiskControlLoop;
  readonly #failed = Promise.withResolvers<Error>();
  readonly #settled = new Settled(() => this.readiness().ready);
  readonly #elsewhere: ReservedElsewhere;
  readonly #beside: Beside;
  /** There from the start on, before anything is worked out. */
  #machine: NetnsWatch | undefined;
  readonly #startedAt = performance.now();
  /** What to close, the last one first. */
  readonly #closers: (() => Promise<void> | void)[] = [];

  private constructor(
    config: AgentConfig,
    log: RootLogger,
    version: string,
    parts: { lock: NodeClaim; rtnl: Rtnl; cached: CachedInputs | undefined },
  ) {
    this.#config = config;
    this.#log = log;
    this.#version = version;
    this.#metrics = new Metrics(version);
    const { nodeName: node, network } = config;
    const { lock, rtnl, cached } = parts;
    this.#closers.push(() => lock.release());
    this.#closers.push(() => rtnl.close());
    const client = connect({ kubeconfig: config.kubeconfig, userAgent: `skylane-agent/${version}` });
    this.#closers.push(() => client.close());
    const networkStatus = new NetworkStatusWriter(client, log);
    this.#networkStatus = networkStatus;
    this.#closers.push(() => networkStatus.stop());
    const events = new NodeEvents(client, { log });
    this.#closers.push(() => events.stop());
    const metrics = this.#metrics;
    const event = (type: "Normal" | "Warning", reason: string, message: string): void =>
      events.emit({ node, type, reason, message });
    const podEvent = (told: Pick<Required<NodeEvent>, "pod" | "reason" | "message">): void =>
      events.emit({ ...told, node, type: "Warning" });
    const announce = (): void => this.#announce();
    this.#available = new NetworkAvailable({
      log,
      condition: () => this.#cluster.networkUnavailable,
      works: () => this.readiness().ready,
      write: (condition) => patchNodeCondition(client, node, condition),
    });
    this.#closers.push(() => this.#available.stop());
    const announced = (name: string) => this.#announced(name);
    const look = (): void => this.#filesChanged();
    const firewall = new NodeFirewall(log, metrics, look, { uplinks: rtnl.links().some(isUplink) });
    this.#closers.push(() => firewall.stop());
    const onFatal = (error: Error): void => this.#failed.resolve(error);
    this.#disk = new DiskControlLoop({ config, log, metrics, event, look, onFatal });
    this.#closers.push(() => this.#disk.stop());
    this.#disk.add({ kind: "lock", what: lock.path, keep: () => lock.keep(onFatal) });
    this.#disk.add({ kind: "cache", what: "the cache of last known peers", keep: () => this.#cluster.keepCache() });
    const repaired = (path: string, of?: string): void => this.#disk.repaired("file", path, of);
    const files = new NodeFiles(config, log, repaired);
    const unserved = new UnservedPods({ config, log, rtnl, event });
    const elsewhere = (this.#elsewhere = new ReservedElsewhere(client, {
      config,
      cached: cached?.reserved,
      networks: () => this.#networks.cidrs,
      log,
      onChange: () => {
        this.#reservedChanged();
        unserved.look(elsewhere.now.services);
      },
    }));
    // A configuration that names another range comes with a start.
    unserved.look(config.serviceCidrs);
    this.#closers.push(() => elsewhere.stop());
    const reserved = { elsewhere: () => elsewhere.now };
    const { promise: settled } = this.#settled;
    const context = { config, log, metrics, rtnl, firewall, client, announce, event, repaired, settled, ...reserved };
    this.#outside = new OutsidePods(context);
    const leads = (): boolean => this.#statuses.leads;
    const presenceChanged = (): void => this.#presenceChanged();
    const noWayOut = (network: string): string | undefined => this.#networks.noWayOut(network);
    const egressParts = { ...context, grants: this.#grants, watch: this.#watch, leads, presenceChanged, noWayOut };
    this.#egress = egressOf(egressParts);
    this.#closers.push(() => this.#egress.stop());
    this.#beside = new Beside({
      ...context,
      watch: this.#watch,
      warn: (reason, message) => event("Warning", reason, message),
      whoHas: (ip) => this.#policies.whoHas(ip),
      nodeOf: (ip) => this.#grants.nodeOf(ip),
      nodeIps: (name) => this.#grants.ips(name),
      further: () => this.#networks.status(),
      onState: announce,
    });
    this.#closers.push(() => this.#beside.stop());
    this.#network = new PodNetwork({
      ...context,
      dataPath: (local, listener) => this.#makeDataPath(local, listener),
      announced: () => announced(network),
      onVni: (vni) => this.#vniKnown(vni),
      wireguard: () => this.#beside.wireguard,
      write: (local) => this.#writeFiles(local, files),
    });
    this.#closers.push(() => this.#network.stop());
    const apiAway = (): string | undefined => this.#cluster.status.error;
    this.#plugins = new RuntimePlugins({
      config,
      log,
      onChange: look,
      alone: () => this.#alone,
      apiAway: () => this.#untold(),
      portmapped: files.portmapped,
    });
    this.#closers.push(() => this.#plugins.stop());
    this.#policies = new PolicyEngine({
      ...context,
      granted: (name) => this.#grants.podCidrs(name),
      nodeIps: (name) => this.#grants.ips(name),
      onUnstated: () => this.#statuses.policiesUnstated(),
      onNames: () => this.#word.policiesChanged(),
      podEvent,
      onDenied: (packet, policy, of) => this.#beside.denied(packet, policy, of),
      onState: () => this.#presenceChanged(),
    });
    this.#closers.push(() => this.#policies.stop());
    this.#networks = new Networks({
      ...context,
      policies: this.#policies,
      egress: this.#egress,
      flows: this.#beside,
      mtus: this.#beside.mtus,
      announced,
      apiAway,
      onPresence: () => this.#presenceChanged(),
      onDefined: () => this.#reservedChanged(),
    });
    this.#closers.push(() => this.#networks.stop());
    this.#statuses = new NetworkStatuses({
      client,
      config,
      log,
      defined: () => this.#networks.defined,
      clusterPolicies: this.#policies,
      also: this.#egress,
      unserved: (network) => this.#networks.unserved(network),
      namespace: ownNamespace(process.env),
    });
    this.#closers.push(() => this.#statuses.stop());
    this.#word = new OwnWord({
      ...context,
      cluster: () => this.#cluster,
      entries: () => this.#entries,
      names: () => this.#policies.names,
      onPublished: () => this.#maybeReady(),
    });
    this.#closers.push(() => this.#word.stop());
    this.#hostPorts = keepHostPorts(config, log, metrics, look);
    this.#closers.push(() => this.#hostPorts.stop());
    const recorded = () => this.#networks.recorded;
    this.#bandwidth = new BandwidthOfAgent({ ...context, further: recorded, watch: this.#watch, podEvent });
    this.#closers.push(() => this.#bandwidth.stop());
    const networks = [this.#network, this.#networks] as const;
    const lookAtPods = (): void => this.#podLinks.look();
    const keepers = { hostPorts: this.#hostPorts.keeper, bandwidth: this.#bandwidth.keeper };
    this.#housekeeping = new Housekeeping({ ...context, ...keepers, networks, lookAtPods });
    this.#closers.push(() => this.#housekeeping.stop());
    this.#podLinks = new PodLinks({ config, log, metrics, routed: true });
    this.#closers.push(() => this.#podLinks.stop());
    this.#cluster = new ClusterView({
      client,
      nodeName: node,
      log,
      cached,
      writer: new CacheWriter(cachePath(config.dataDir, network)),
      dataPathExists: deviceThere(network, rtnl.links()) !== undefined,
      onInputs: (inputs, live, changes) => this.#clusterChanged(inputs, live, changes),
      onNoNode: () => this.#network.noNode(node),
      event,
      reserved: () => elsewhere.now,
      contested: () => [...this.#network.contested, ...this.#networks.contested],
    });
    this.#closers.push(() => this.#cluster.stop());
  }

  /**
   * Starts an agent; it runs until {@link stop}.
   * @throws AnotherAgent; Error when the API server's credentials cannot be used, the run directory cannot be written or
   * no netlink socket can be opened: nothing of which waiting would cure.
   */
  static async start(config: AgentConfig, log: RootLogger, version: string): Promise<Agent> {
    const lock = claimNode(config.runDir);
    removeDrafts(config.runDir, (name) => name === SOCKET_NAME || name === CNI_SOCKET || name.endsWith(".json"));
    removeDrafts(join(config.dataDir, "cache"), () => true);
    removeDrafts(config.cni.confDir, (name) => name === config.cni.confName);
    const cached = await loadCache(config, log);
    const agent = new Agent(config, log, version, { lock, rtnl: Rtnl.open(), cached });
    await agent.#run();
    return agent;
  }

  /** Stops everything but the data path. */
  async stop(): Promise<void> {
    for (const close of this.#closers.splice(0).toReversed()) {
      try {
        await close();
      } catch (error) {
        this.#log.warn("something could not be closed in order", { error });
      }
    }
  }

  /** Resolves when this agent can do its work no longer, and another process could. */
  get failed(): Promise<Error> {
    return this.#failed.promise;
  }

  /** All checks behind `/readyz`. */
  readiness(): Readiness {
    const { state, error } = this.#cluster.status;
    const message = error === undefined ? state : `${state}: ${error}`;
    return assess([
      { name: "api", ask: () => ({ ok: this.#cluster.known, message }) },
      ...this.#network.questions(),
      { name: "policies", ask: () => this.#policies.verdict },
      { name: "egress", ask: () => this.#egress.verdict },
      { name: "host-ports", ask: () => this.#hostPorts.keeper.verdict },
      { name: "plugins", ask: () => this.#plugins.verdict },
      { name: "forwarding", ask: () => this.#housekeeping.forwarding },
      ...this.#beside.questions,
      ...this.#disk.questions,
    ]);
  }

  /** The document of `/status`. */
  status(): AgentStatus {
    const known = this.#network.status();
    const outside = [...this.#outside.now];
    const network = known && { ...known, ...(outside.length > 0 && { outside }) };
    return {
      version: this.#version,
      node: this.#config.nodeName,
      networks: [...(network ? [network] : []), ...this.#networks.status()],
      api: this.#cluster.status,
      policies: this.#policies.state,
      hostPorts: this.#hostPorts.keeper.status(),
      bandwidth: this.#bandwidth.status(),
      ...(this.#egress.wanted && { egress: this.#egress.status() }),
      ...this.#beside.status(),
      ready: this.readiness(),
      uptimeSeconds: Math.round((performance.now() - this.#startedAt) / 1_000),
    };
  }

  // What the parts tell each other. Each of these is an edge of a circle that no import shows: whoever is told may have something to
  // tell in return, so nothing is told before all parts are there, which is when {@link #run} starts them.

  /** The cluster is otherwise than before, or is heard again: grants first, by which policies know whose an address is. */
  #clusterChanged(inputs: Inputs, live: boolean, changes: NodeChanges): void {
    const regranted = this.#grants.update(inputs, changes);
    if (regranted.length > 0) this.#policies.grantsChanged(regranted);
    this.#policies.ownPodCidrs(inputs.own.podCidrs);
    if (changes.size > 0) this.#egress.look();
    this.#network.update(inputs, live, changes);
    this.#networks.update(inputs, live, changes);
    this.#statuses.update(inputs, live, changes);
    this.#word.policiesChanged();
    this.#maybeReady();
  }

  /** A network has something else to tell the other nodes, or may be ready. */
  #announce(): void {
    this.#word.networksChanged();
    this.#maybeReady();
  }

  /** Whether the other nodes can know what a network tells them. */
  #announced(network: string): CheckResult {
    if (!this.#cluster.nodeless) return this.#word.verdict(network);
    const message = `there is no Node ${this.#config.nodeName} any more: the other nodes cannot know this one`;
    return { ok: false, message };
  }

  /** Rules, plugins or files on the disk are otherwise: what pods come about from may be written, or has to be anew. */
  #filesChanged(): void {
    this.#network.filesChanged();
    this.#networks.firewallChanged();
  }

  /** Whether pods may ask for networks, or have policies, is otherwise: the default network's files say whether they need the agent. */
  #presenceChanged(): void {
    this.#network.filesChanged();
  }

  /** Other addresses are the cluster's own, which no peer may have. */
  #reservedChanged(): void {
    this.#network.look();
    this.#egress.look();
    this.#cluster.save();
  }

  /** The default network's VNI is known: no other network may have it. */
  #vniKnown(vni: number): void {
    this.#networks.vniKnown(vni);
    this.#statuses.vniKnown(vni);
  }

  /** Whether this node is ready may be otherwise once whoever says so has returned. */
  #maybeReady(): void {
    setImmediate(() => {
      this.#available.poke();
      this.#settled.poke();
    });
  }

  #makeDataPath(...[local, listener]: Parameters<MakeDataPath>): ReturnType<MakeDataPath> {
    const ordinary = routedPath(this.#log, this.#watch);
    return this.#beside.accompany(ordinary, this.#egress)(local, listener);
  }

  /** When the default network's data path works, when the node's part of it changes, and with each round. @throws Error of the system */
  #writeFiles(local: LocalNetwork, files: NodeFiles): void {
    this.#outside.look(local.podCidrs);
    files.write(local, this.#alone ? {} : { needsAgent: true }, this.#plugins.told);
    this.#maybeReady();
  }

  /** What the API server has not told that pods depend on; undefined where it has told all. */
  #untold(): string | undefined {
    const away = this.#cluster.status.error;
    if (away !== undefined) return away;
    if (this.#policies.presence === "unknown") return "it has not said whether there are network policies";
    return this.#networks.presence === "unknown" ? "it has not said which networks are defined" : undefined;
  }

  async #run(): Promise<void> {
    this.#log.info("skylane-agent starts", { version: this.#version, network: this.#config.network });
    const machine = (this.#machine = watchMachine(
      {
        changed: () => {
          this.#network.look();
          this.#networks.look();
        },
        links: this.#podLinks,
      },
      { routes: this.#config.directRouting === "auto" },
    ));
    this.#closers.push(() => machine.close());
    machine.also(this.#housekeeping);
    machine.also(this.#policies);
    machine.also(this.#hostPorts.keeper);
    this.#hostPorts.keeper.start();
    this.#bandwidth.start();
    await this.#beside.start();
    machine.also(this.#networks);
    this.#metrics.beforeScrape(() => this.#sample());
    this.#metrics.beforeScrape(() => this.#policies.sample());
    const routes = agentRoutes({
      stuck: () => this.#housekeeping.stuck,
      readiness: () => this.readiness(),
      metrics: shared(() => this.#metrics.text()),
      status: () => this.status(),
      more: { ...policyRoutes(this.#policies), ...this.#beside.routes },
      level: { get: () => this.#log.level, set: (level) => this.#setLogLevel(level) },
    });
    const leave: Parameters<typeof Serving.start>[0]["leave"] = (call) => this.#plugins.ask(call);
    const [config, log, host] = [this.#config, this.#log, this.#cniHost()];
    const serving = await Serving.start({ config, log, routes, host, leave });
    this.#closers.push(() => serving.close());
    for (const duty of [...serving.duties, ...this.#beside.duties]) this.#disk.add(duty);
    this.#disk.start();
    this.#podLinks.look();
    this.#elsewhere.start();
    this.#housekeeping.start();
    this.#cluster.start();
    this.#networks.start();
    this.#policies.start();
    this.#beside.listen();
    this.#egress.start();
    this.#statuses.start();
  }

  /** Whether pods of the default network could come without the agent: nobody else knows networks that they ask for, their policies, and their way out. */
  get #alone(): boolean {
    return this.#networks.presence === "none" && this.#policies.presence === "none" && !this.#egress.mayBe;
  }

  readonly #watch = (listener: MonitorListener): ReturnType<NetnsWatch["also"]> => {
    if (!this.#machine) throw new Error("the machine is not watched yet");
    return this.#machine.also(listener);
  };

  get #entries(): Entries | undefined {
    const { entry } = this.#network;
    return entry && new Map([[this.#config.network, entry], ...this.#networks.entries]);
  }

  #cniHost(): (names: NetnsMounter) => Host {
    const { cniSeconds } = this.#metrics;
    const options: ServingHostOptions = {
      config: this.#config,
      gone: this.#hostPorts.gone,
      hostPorts: this.#hostPorts.keeper,
      bandwidth: this.#bandwidth.keeper,
      own: this.#podLinks,
      networks: this.#networks,
      networkStatus: this.#networkStatus,
      policies: this.#policies,
      egress: this.#egress,
      log: this.#log,
      observe: ({ verb, result, ms }) => cniSeconds.observe({ verb, result, by: "agent" }, ms / 1_000),
    };
    return servingHost(options);
  }

  #setLogLevel(level: LogLevel): void {
    this.#log.info(`the log level is ${level} from now on, until the agent is restarted`, { before: this.#log.level });
    this.#log.level = level;
  }

  async #sample(): Promise<void> {
    this.#metrics.sampleWatches(this.#cluster.watches);
    for (const { name, ok } of this.readiness().checks) this.#metrics.ready.set({ check: name }, ok ? 1 : 0);
    this.#network.sample();
    this.#networks.sample();
    await this.#housekeeping.countDurations();
  }
}
