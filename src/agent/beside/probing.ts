/** The probes as the agent has them: fed into its metrics and Events, and asked on its socket. */
import type { AgentConfig } from "../../config/index.ts";
import { json, type Routes, text } from "../../http/index.ts";
import type { Logger } from "../../log/index.ts";
import type { Metrics } from "../../observe/index.ts";
import { Probes } from "../../probes/index.ts";

/** Makes them; undefined where they are off. */
export function probesOf(
  config: Pick<AgentConfig, "probes">,
  { log, metrics, warn }: { log: Logger; metrics: Metrics; warn: (reason: string, message: string) => void },
): Probes | undefined {
  if (config.probes === "off") return undefined;
  const onAnswer = (path: "tunnel" | "underlay", seconds: number): void =>
    metrics.probeSeconds.observe({ path }, seconds);
  const probes = new Probes({ log, event: warn, onAnswer });
  metrics.beforeScrape(() => metrics.sampleProbes(probes.status(), probes.counts));
  return probes;
}

/** `/probes`: the summary and the figures of each peer; names of nodes are for the operator of this one. */
export const probeRoutes = (probes: Probes | undefined): Routes => ({
  "/probes": () =>
    probes
      ? json(200, { ...probes.status(), figures: probes.figures() })
      : text(400, "this node's agent measures no peers (probes: off)\n"),
});
