/**
 * The files by which this node's pods come about: the published state for the CNI plugin and the configuration list
 * for the runtime. Both mean "pods may come", so whoever calls this has seen the data path work.
 */
import { join } from "node:path";
import {
  type AgentConfig,
  ConfigError,
  PUBLISHED_VERSION,
  type PublishedNetwork,
  readPublished,
  writePublished,
} from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import type { LocalNetwork } from "../overlay/index.ts";
import { makeDirectory } from "../sys/index.ts";
import { conflistsBefore, ensureConflist, renderConflist } from "./conflist.ts";

/** What a network's published state says beside what follows from the network itself. */
export type PublishedExtra = Pick<PublishedNetwork, "hostNetns" | "destinations" | "bridge" | "needsAgent">;

/**
 * Makes both files say what they should; touches neither when it does.
 * @throws Error of the system when one cannot be written.
 */
export function ensureFiles(config: AgentConfig, local: LocalNetwork, extra: PublishedExtra, log: Logger): void {
  const { network } = local;
  const { runDir, dataDir } = config;
  ensurePublished(runDir, local, extra, log);
  const { confDir, confName, binDir, chained } = config.cni;
  if (!ensureConflist(confDir, confName, renderConflist({ network, runDir, dataDir, chained, binDir }))) return;
  log.info("wrote the CNI configuration", { file: join(confDir, confName) });
  const before = conflistsBefore(confDir, confName);
  if (before.length > 0) {
    const files = before.map((name) => join(confDir, name)).join(", ");
    log.warn(`another CNI configuration comes first by name, so the runtime uses that one: ${files}`);
  }
}

/** Makes a network's published state say what it should. @throws Error of the system when it cannot be written. */
export function ensurePublished(runDir: string, local: LocalNetwork, extra: PublishedExtra, log: Logger): void {
  const { network, node, vni, device, mtu, podCidrs, clusterCidrs } = local;
  const wanted: PublishedNetwork = {
    version: PUBLISHED_VERSION,
    network,
    node,
    vni,
    device,
    mtu,
    podCidrs,
    clusterCidrs,
    ...extra,
  };
  if (JSON.stringify(present(runDir, wanted)) === JSON.stringify(wanted)) return;
  makeDirectory(runDir);
  writePublished(runDir, wanted);
  log.info("published the pod network for the CNI plugin", { mtu, podCidrs });
}

function present(runDir: string, { network }: PublishedNetwork): PublishedNetwork | undefined {
  try {
    return readPublished(runDir, network);
  } catch (error) {
    if (error instanceof ConfigError) return undefined; // damaged, or of another release: it is replaced
    throw error;
  }
}
