/** What of a pod network's pods is written down on this node. */
import { readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { ipamDir, realHost } from "../cni/index.ts";
import type { NetworkRecords } from "../config/index.ts";
import { Ipam } from "../ipam/local/index.ts";
import type { Logger } from "../log/index.ts";
import { ObjectError, parsePodNetwork, type PodNetworkInfo } from "../crd/index.ts";
import { makeDirectory, writeFileAtomic } from "../sys/index.ts";

type Place = Pick<NetworkRecords, "dataDir">;

/** Whether an attachment of a network is on this node. @throws Error of the system */
export const hasAttachments = ({ dataDir }: Place, network: string): boolean =>
  realHost.attachments({ dataDir, network }).list().length > 0;

/** Networks beside the default one that have, or had, attachments on this node. @throws Error of the system */
export function recordedNetworks({ dataDir, network }: NetworkRecords): string[] {
  try {
    return readdirSync(join(dataDir, "attachments")).filter((name) => name !== network);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** The addresses of a network that pods of this node have. */
export const ipamOf = (config: NetworkRecords, log: Pick<Logger, "warn">): Ipam =>
  new Ipam({ dir: ipamDir(config), warn: (message) => log.warn(message) });

const definitionPath = ({ dataDir }: Place, network: string): string => join(dataDir, "networks", `${network}.json`);

/**
 * Writes down which PodNetwork it is that this node's pods are in: an agent that starts later goes on with that one, also when its object
 * is gone, or is another one of that name by then. @throws Error of the system
 */
export function writeDefinition(place: Place, info: PodNetworkInfo): void {
  const { name, uid, resourceVersion, creationTimestamp, namespaceSelector: _, deleting: __, ...spec } = info;
  makeDirectory(join(place.dataDir, "networks"), 0o700);
  const text = JSON.stringify({ metadata: { name, uid, resourceVersion, creationTimestamp }, spec });
  writeFileAtomic(definitionPath(place, name), `${text}\n`);
}

/** What was written; undefined where nothing that makes sense is. @throws Error of the system */
export function readDefinition(place: Place, network: string): PodNetworkInfo | undefined {
  try {
    const info = parsePodNetwork(JSON.parse(readFileSync(definitionPath(place, network), "utf8")));
    return info.name === network ? info : undefined;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return undefined;
    if (error instanceof SyntaxError || error instanceof ObjectError) return undefined;
    throw error;
  }
}

export const removeDefinition = (place: Place, network: string): void =>
  rmSync(definitionPath(place, network), { force: true });
