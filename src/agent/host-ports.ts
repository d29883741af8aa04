/** Host ports in the hands of the agent, with what it knows of attachments, and how it removes records. */
import { join } from "node:path";
import { isAttached } from "../cni/index.ts";
import { GONE } from "../cni-server/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { HostPortKeeper } from "../dataplane/host-ports/index.ts";
import type { Logger } from "../log/index.ts";
import type { Metrics } from "../observe/index.ts";
import { GoneFiles } from "../sys/index.ts";

/** See the header. */
export interface HostPortsOfAgent {
  keeper: HostPortKeeper;
  /** Records that are gone, of attachments and of host ports, until the file system has unlinked them. */
  gone: GoneFiles;
  stop(): Promise<void>;
}

/** @param onState whether host ports are in place has changed */
export function keepHostPorts(
  { dataDir, network, hostPorts }: AgentConfig,
  log: Logger,
  metrics: Metrics,
  onState: () => void,
): HostPortsOfAgent {
  const gone = new GoneFiles(join(dataDir, GONE), (error) =>
    log.warn("a record that is gone could not be unlinked; the next start tries again", { error }),
  );
  gone.sweep();
  const keeper: HostPortKeeper = new HostPortKeeper({
    dataDir,
    own: hostPorts === "own",
    log,
    isAttached: (record) => isAttached(dataDir, record),
    unlink: (path) => gone.remove(path),
    onRepair: () => metrics.repairs.inc({ network, kind: "host-ports" }),
    onState,
  });
  metrics.beforeScrape(() => metrics.hostPorts.set(keeper.status().ports.length));
  const stop = async (): Promise<void> => {
    await keeper.stop();
    await gone.settled();
  };
  return { keeper, gone, stop };
}
