/** What of a pod network's pods is written down on this node. */
import { ipamDir, realHost } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { Ipam } from "../ipam/index.ts";
import type { Logger } from "../log/index.ts";

/** Whether an attachment of a network is on this node. @throws Error of the system */
export const hasAttachments = ({ dataDir }: Pick<AgentConfig, "dataDir">, network: string): boolean =>
  realHost.attachments({ dataDir, network }).list().length > 0;

/** The addresses of a network that pods of this node have. */
export const ipamOf = (config: Pick<AgentConfig, "dataDir" | "network">, log: Pick<Logger, "warn">): Ipam =>
  new Ipam({ dir: ipamDir(config), warn: (message) => log.warn(message) });
