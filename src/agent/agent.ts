/**
 * The agent as a whole: puts the parts together, and takes them apart again without touching the data path.
 */
import { join } from "node:path";
import { type AgentConfig, parseListen } from "../config/index.ts";
import { connect, NodeEvents, patchNodeAnnotations } from "../kube/index.ts";
import type { Logger } from "../log/index.ts";
import { type MonitorListener, Rtnl } from "../netlink/index.ts";
import { VTEP_ANNOTATION } from "../overlay/index.ts";
import { GoneFiles, type HeldLock } from "../sys/index.ts";
import { Task } from "../task/index.ts";
import { type CachedInputs, cachePath, CacheWriter, readCache } from "./cache.ts";
import { ClusterView } from "./cluster.ts";
import { unserved } from "./defined-networks.ts";
import { Housekeeping } from "./housekeeping.ts";
import { type Listener, listenTcp, listenUnix } from "./http.ts";
import { NodeFirewall } from "./firewall.ts";
import type { Host } from "../cni/index.ts";
import { GONE, servingHost, type ServingHostOptions } from "./cni-host.ts";
import type { NameKeeper } from "./launcher-names.ts";
import { CNI_SOCKET, CniServer } from "./cni-server.ts";
import { claimNode, removeDrafts } from "./instance.ts";
import { watchMachine } from "./machine.ts";
import type { NetnsWatch } from "./netns-watch.ts";
import { PodLinks } from "./pod-links.ts";
import { Metrics } from "./metrics.ts";
import { type Publication, Publisher } from "./publisher.ts";
import { routedPath } from "./routed-path.ts";
import { ensureFiles } from "./files.ts";
import { PodNetwork } from "./network.ts";
import { NetworkStatusWriter } from "./network-status.ts";
import { NetworkStatuses } from "./network-statuses.ts";
import { Networks } from "./networks.ts";
import { assess, type Readiness } from "./readiness.ts";
import { agentRoutes } from "./routes.ts";
import type { AgentStatus } from "./status.ts";
import { isUplink } from "./uplink.ts";

/** Name of the agent's socket in the run directory. */
export const SOCKET_NAME = "agent.sock";

/** A running agent. */
export class Agent {
  readonly #config: AgentConfig;
  readonly #log: Logger;
  readonly #version: string;
  readonly #metrics: Metrics;
  readonly #network: PodNetwork;
  readonly #networks: Networks;
  readonly #networkStatus: NetworkStatusWriter;
  readonly #statuses: NetworkStatuses;
  readonly #publisher: Publisher;
  readonly #cluster: ClusterView;
  readonly #housekeeping: Housekeeping;
  readonly #podLinks: PodLinks;
  /** There from the start on, before anything is worked out. */
  #machine: NetnsWatch | undefined;
  readonly #startedAt = performance.now();
  /** What to close, the last one first. */
  readonly #closers: (() => Promise<void> | void)[] = [];

  private constructor(
    config: AgentConfig,
    log: Logger,
    version: string,
    parts: { lock: HeldLock; rtnl: Rtnl; cached: CachedInputs | undefined },
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
    const announce = (): void => this.#publisher.poke();
    const announced = (name: string) => this.#publisher.verdict(name);
    const firewallChanged = (): void => {
      this.#network.filesChanged();
      this.#networks.firewallChanged();
    };
    const firewall = new NodeFirewall(log, metrics, firewallChanged, { uplinks: rtnl.links().some(isUplink) });
    this.#closers.push(() => firewall.stop());
    const context = { config, log, metrics, rtnl, firewall, client, announce, event };
    this.#network = new PodNetwork({
      ...context,
      dataPath: routedPath(log, (listener) => this.#watch(listener)),
      announced: () => announced(network),
      write: (local) => ensureFiles(config, local, this.#networks.any ? { needsAgent: true } : {}, log),
    });
    this.#closers.push(() => this.#network.stop());
    this.#networks = new Networks({ ...context, announced, onPresence: () => this.#network.filesChanged() });
    this.#closers.push(() => this.#networks.stop());
    const defined = (): Networks["defined"] => this.#networks.defined;
    this.#statuses = new NetworkStatuses({ client, config, log, defined, unserved });
    this.#closers.push(() => this.#statuses.stop());
    const annotate = (text: string) => patchNodeAnnotations(client, node, { [VTEP_ANNOTATION]: text });
    this.#publisher = new Publisher(log, annotate, () => this.#publication());
    this.#closers.push(() => this.#publisher.stop());
    this.#housekeeping = new Housekeeping({ config, log, metrics, rtnl, networks: [this.#network, this.#networks] });
    this.#closers.push(() => this.#housekeeping.stop());
    this.#podLinks = new PodLinks({ config, log, metrics, routed: true });
    this.#closers.push(() => this.#podLinks.stop());
    this.#cluster = new ClusterView({
      client,
      nodeName: node,
      log,
      cached,
      writer: new CacheWriter(cachePath(config.dataDir, network)),
      dataPathExists: rtnl.link(`sky.${config.vni}`) !== undefined,
      onInputs: (inputs, live, changes) => {
        this.#network.update(inputs, live, changes);
        this.#networks.update(inputs, live, changes);
        this.#statuses.update(inputs, live, changes);
      },
      onNoNode: () => this.#network.noNode(node),
    });
    this.#closers.push(() => this.#cluster.stop());
  }

  /**
   * Starts an agent; it runs until {@link stop}.
   * @throws AnotherAgent; Error when the API server's credentials cannot be used, the run directory cannot be written or
   * no netlink socket can be opened: nothing of which waiting would cure.
   */
  static async start(config: AgentConfig, log: Logger, version: string): Promise<Agent> {
    const lock = claimNode(config.runDir);
    removeDrafts(config.runDir, (name) => name === SOCKET_NAME || name === CNI_SOCKET || name.endsWith(".json"));
    removeDrafts(join(config.dataDir, "cache"), (name) => name.endsWith(".json"));
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

  /** All checks behind `/readyz`. */
  readiness(): Readiness {
    const { state, error } = this.#cluster.status;
    const message = error === undefined ? state : `${state}: ${error}`;
    return assess([
      { name: "api", ask: () => ({ ok: this.#cluster.known, message }) },
      ...this.#network.questions(),
      { name: "forwarding", ask: () => this.#housekeeping.forwarding },
    ]);
  }

  /** The document of `/status`. */
  status(): AgentStatus {
    const network = this.#network.status();
    return {
      version: this.#version,
      node: this.#config.nodeName,
      networks: [...(network ? [network] : []), ...this.#networks.status()],
      api: this.#cluster.status,
      ready: this.readiness(),
      uptimeSeconds: Math.round((performance.now() - this.#startedAt) / 1_000),
    };
  }

  async #run(): Promise<void> {
    const { nodeName, network, runDir, dataDir, listen } = this.#config;
    this.#log.info("skylane-agent starts", { version: this.#version, network });
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
    this.#metrics.beforeScrape(() => this.#sample());
    const { tcp, unix } = agentRoutes({
      stuck: () => this.#housekeeping.stuck,
      readiness: () => this.readiness(),
      metrics: () => this.#metrics.text(),
      status: () => this.status(),
    });
    const socket = await listenUnix(join(runDir, SOCKET_NAME), unix);
    this.#closers.push(() => socket.close());
    const cni = await CniServer.listen({ runDir, dataDir, log: this.#log, host: this.#cniHost() });
    this.#closers.push(() => cni.close());
    if (listen !== "") this.#serve(listen, tcp);
    this.#podLinks.look();
    this.#housekeeping.start();
    this.#cluster.start();
    this.#networks.start();
    this.#statuses.start();
    this.#log.debug("watching", { node: nodeName });
  }

  #watch(listener: MonitorListener): ReturnType<NetnsWatch["also"]> {
    if (!this.#machine) throw new Error("the machine is not watched yet");
    return this.#machine.also(listener);
  }

  #publication(): Publication | undefined {
    const { own, live } = this.#cluster;
    const { entry } = this.#network;
    if (!live || !own || !entry) return undefined;
    return { own, entries: new Map([[this.#config.network, entry], ...this.#networks.entries]) };
  }

  #cniHost(): (names: NameKeeper) => Host {
    const { cniSeconds } = this.#metrics;
    const gone = new GoneFiles(join(this.#config.dataDir, GONE), (error) =>
      this.#log.warn("a record that is gone could not be unlinked; the next start tries again", { error }),
    );
    this.#closers.push(() => gone.settled());
    gone.sweep();
    const options: ServingHostOptions = {
      gone,
      own: this.#podLinks,
      networks: this.#networks,
      networkStatus: this.#networkStatus,
      log: this.#log,
      observe: ({ verb, result, ms }) => cniSeconds.observe({ verb, result, by: "agent" }, ms / 1_000),
    };
    return servingHost(options);
  }

  /** A port that is taken is no reason to leave the data path alone: it is tried again. */
  #serve(listen: string, routes: Parameters<typeof listenTcp>[1]): void {
    let listener: Listener | undefined;
    const task = new Task(
      async () => {
        listener = await listenTcp(parseListen(listen), routes);
        this.#log.info(`health and metrics are served on ${listener.address}`);
      },
      { baseMs: 1_000, maxMs: 30_000 },
      (error, attempt) => {
        if (attempt === 1) this.#log.error(`cannot listen on ${listen}; trying again`, { error });
      },
    );
    task.want();
    this.#closers.push(async () => {
      await task.stop();
      await listener?.close();
    });
  }

  async #sample(): Promise<void> {
    const { own, nodes } = this.#cluster.watches;
    this.#metrics.apiRelists.reset();
    this.#metrics.apiErrors.reset();
    for (const [watch, state] of [
      ["own_node", own],
      ["nodes", nodes],
    ] as const) {
      this.#metrics.apiSynced.set({ watch }, state.synced && state.connected ? 1 : 0);
      this.#metrics.apiRelists.inc({ watch }, state.relists);
      this.#metrics.apiErrors.inc({ watch }, state.errors);
    }
    for (const { name, ok } of this.readiness().checks) this.#metrics.ready.set({ check: name }, ok ? 1 : 0);
    this.#network.sample();
    this.#networks.sample();
    await this.#housekeeping.countDurations();
  }
}

async function loadCache({ dataDir, network, nodeName }: AgentConfig, log: Logger): Promise<CachedInputs | undefined> {
  try {
    return await readCache(cachePath(dataDir, network), nodeName);
  } catch (error) {
    log.warn("going on without last known peers", { error });
    return undefined;
  }
}
