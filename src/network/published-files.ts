/**
 * The published state of a network for the CNI plugin. It means "pods may come", so whoever calls this has seen the data
 * path work.
 */
import {
  ConfigError,
  PUBLISHED_VERSION,
  type PublishedNetwork,
  readPublished,
  writePublished,
} from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import type { LocalNetwork } from "../peers/index.ts";
import { makeDirectory } from "../sys/index.ts";

/** What a network's published state says beside what follows from the network itself. */
export type PublishedExtra = Pick<PublishedNetwork, "hostNetns" | "destinations" | "bridge" | "needsAgent">;

/**
 * Makes a network's published state say what it should. @returns whether it had to be written.
 * @throws Error of the system when it cannot be written.
 */
export function ensurePublished(runDir: string, local: LocalNetwork, extra: PublishedExtra, log: Logger): boolean {
  const { network, node, vni, device, mtu, podCidrs, clusterCidrs, narrow } = local;
  const wanted: PublishedNetwork = {
    version: PUBLISHED_VERSION,
    network,
    node,
    vni,
    device,
    mtu,
    podCidrs,
    clusterCidrs,
    ...(narrow !== undefined && { narrow }),
    ...extra,
  };
  if (JSON.stringify(present(runDir, wanted)) === JSON.stringify(wanted)) return false;
  makeDirectory(runDir);
  writePublished(runDir, wanted);
  log.info("published the pod network for the CNI plugin", { mtu, podCidrs });
  return true;
}

function present(runDir: string, { network }: PublishedNetwork): PublishedNetwork | undefined {
  try {
    return readPublished(runDir, network);
  } catch (error) {
    if (error instanceof ConfigError) return undefined; // damaged, or of another release: it is replaced
    throw error;
  }
}
