/** The fast path of the default network in the hands of the agent, with what it counts of it. */
import { FastPath, type FastPathOptions, removePrograms } from "../../dataplane/fast-path/index.ts";
import { errorText, type Logger } from "../../log/index.ts";
import type { Rtnl } from "../../netlink/index.ts";
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

/** Without a fast path: what an agent that had one and was killed has left at devices, which does nothing any more, goes. */
export function clearFastPath(rtnl: Rtnl, log: Logger): void {
  try {
    for (const what of removePrograms(rtnl)) log.info(`removed ${what}, left by a former agent`);
  } catch (error) {
    log.warn(`what a former agent may have left of the fast path was not removed: ${errorText(error)}`);
  }
}
