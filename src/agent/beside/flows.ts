/** Flows as the agent has them: named by what it knows of addresses and Services, fed into its metrics, and asked on its socket. */
import { join } from "node:path";
import type { AgentConfig } from "../../config/index.ts";
import {
  accountIn,
  FilterError,
  type FlowNetwork,
  Flows,
  type FlowsOfNetwork,
  readFilter,
  restoreAccounting,
  ServiceNames,
  type WhoHas,
} from "../../flows/index.ts";
import { json, type Routes, text } from "../../http/index.ts";
import { keyOf } from "../../json/index.ts";
import { type KubeClient, ServiceReflector } from "../../kube/index.ts";
import type { Logger } from "../../log/index.ts";
import type { Metrics } from "../../observe/index.ts";
import { RememberedWord } from "../../sys/index.ts";

export interface FlowsOfAgentOptions {
  client: KubeClient;
  log: Logger;
  metrics: Metrics;
  /** Who has an address, as policies know it. */
  whoHas: (ip: string) => { pod: string; labels?: Readonly<Record<string, string>> } | { nodes: string[] } | undefined;
  /** The node whose address it is, or whose pods have it. */
  nodeOf: (ip: string) => string | undefined;
  /** Addresses of a node itself; undefined while nobody knows. */
  nodeIps: (node: string) => readonly string[] | undefined;
}

/** Flows, and the Services by which they are named, which nobody else asks for: followed as long as flows are. */
export class FlowsOfAgent {
  readonly flows: Flows;
  readonly #services: ServiceReflector;

  constructor(flows: Flows, services: ServiceReflector) {
    this.flows = flows;
    this.#services = services;
  }

  start(): void {
    this.#services.start();
    this.flows.start();
  }

  async stop(): Promise<void> {
    await Promise.all([this.#services.stop(), this.flows.stop()]);
  }
}

/** Makes them; undefined where they are off, and what an earlier agent has set for them is as it was then. */
export function flowsOf(config: AgentConfig, options: FlowsOfAgentOptions): FlowsOfAgent | undefined {
  const { client, log, metrics, nodeOf, nodeIps } = options;
  const before = new RememberedWord(join(config.dataDir, "cache", "connection-accounting"), (error) =>
    log.warn("which kernel parameters flows have set cannot be written down; they stay when flows are off", { error }),
  );
  if (config.flows === "off") {
    try {
      restoreAccounting(before);
    } catch (error) {
      log.warn("kernel parameters that flows have set cannot be set back", { error });
    }
    return undefined;
  }
  const whoHas = (ip: string): WhoHas | undefined => {
    const owner = options.whoHas(ip);
    const node = nodeOf(ip) ?? (owner && "nodes" in owner ? owner.nodes[0] : undefined);
    return { ...(owner && !("nodes" in owner) && owner), ...(node !== undefined && { node }) };
  };
  const services = new ServiceReflector(client, { log });
  const names = new ServiceNames();
  services.onChange(({ added, changed, removed }) => {
    for (const service of removed) names.delete(keyOf(service));
    for (const service of [...added, ...changed.map(({ after }) => after)]) names.set(service);
  });
  const isNode = (ip: string): boolean => nodeIps(nodeOf(ip) ?? "")?.includes(ip) === true;
  const { network, nodeName: node, port: tunnelPort } = config;
  const flows = new Flows({
    log,
    tunnelPort,
    before,
    network,
    whoHas,
    serviceAt: (protocol, ip, port) => names.at(protocol, ip, port, isNode),
    node,
    passesBy: () => config.fastPath === "auto",
    onRepair: (count, where) => metrics.repairs.inc({ network: where, kind: "parameter" }, count),
  });
  metrics.beforeScrape(() => metrics.sampleFlows(flows.status(), flows.table.counts));
  return new FlowsOfAgent(flows, services);
}

/** This node takes part in a pod network. Where flows are off, what an agent before this one has set for them there is set back. */
export function joinFlows(flows: Flows | undefined, network: FlowNetwork, log: Logger): FlowsOfNetwork {
  if (flows) return flows.join(network);
  try {
    accountIn(network.netns, false);
  } catch (error) {
    log.warn("kernel parameters that flows have set in a pod network's namespace cannot be set back", {
      network: network.network,
      error,
    });
  }
  return { close: () => Promise.resolve() };
}

/** `/flows`: names of pods are for the operator of this node. `after` is what the last answer said, `wait` waits for what comes. */
export const flowRoutes = (flows: Flows | undefined): Routes => ({
  "/flows": async (query) => {
    if (!flows) return text(400, "this node's agent records no flows (flows: off)\n");
    try {
      const after = Number(query.get("after") ?? 0);
      if (!Number.isSafeInteger(after)) throw new FilterError("after must be a whole number");
      const answer = await flows.read(readFilter(query), after, query.has("wait"));
      if (!answer) return text(400, "too many readers follow flows already; end one of them\n");
      return json(200, { ...answer, status: flows.status() });
    } catch (error) {
      if (error instanceof FilterError) return text(400, `${error.message}\n`);
      throw error;
    }
  },
});
