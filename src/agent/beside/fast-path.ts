/** The fast path of the default network in the hands of the agent, with what it counts of it. */
import { FastPath, type FastPathOptions } from "../../dataplane/fast-path/index.ts";
import type { Metrics } from "../../observe/index.ts";

/** @param further what of pod networks beside the default one is counted with it. @throws SysError when no socket can be opened */
export function startFastPath(
  network: string,
  {
    metrics,
    further,
    ...options
  }: Omit<FastPathOptions, "onRepair"> & {
    metrics: Metrics;
    further: () => Parameters<Metrics["sampleFastPaths"]>[0];
  },
): FastPath {
  const fast = new FastPath({ ...options, onRepair: (kind, count) => metrics.repairs.inc({ network, kind }, count) });
  metrics.beforeScrape(() => metrics.sampleFastPaths([{ network, fastPath: fast.status() }, ...further()]));
  return fast;
}
