/** Flows as the agent has them: named by what it knows of addresses, fed into its metrics, and asked on its socket. */
import { join } from "node:path";
import type { AgentConfig } from "../../config/index.ts";
import { FilterError, Flows, readFilter, restoreAccounting, type WhoHas } from "../../flows/index.ts";
import { json, type Routes, text } from "../../http/index.ts";
import type { Logger } from "../../log/index.ts";
import type { Metrics } from "../../observe/index.ts";
import { RememberedWord } from "../../sys/index.ts";

export interface FlowsOfAgentOptions {
  log: Logger;
  metrics: Metrics;
  /** Who has an address, as policies know it. */
  whoHas: (ip: string) => { pod: string; labels?: Readonly<Record<string, string>> } | { nodes: string[] } | undefined;
  /** The node whose address it is, or whose pods have it. */
  nodeOf: (ip: string) => string | undefined;
}

/** Makes them; undefined where they are off, and what an earlier agent has set for them is as it was then. */
export function flowsOf(config: AgentConfig, options: FlowsOfAgentOptions): Flows | undefined {
  const { log, metrics, nodeOf } = options;
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
  const { network, nodeName: node, port: tunnelPort } = config;
  const passesBy = (): boolean => config.fastPath === "auto";
  const onRepair = (count: number): void => metrics.repairs.inc({ network, kind: "parameter" }, count);
  const flows = new Flows({ log, tunnelPort, before, whoHas, node, passesBy, onRepair });
  metrics.beforeScrape(() => metrics.sampleFlows(flows.status(), flows.table.counts));
  return flows;
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
