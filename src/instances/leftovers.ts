/**
 * What is left of a network whose last pod went unnoticed: its node lost power, its agent was away, the API server did not answer, or its
 * definition was deleted meanwhile. Blocks, endpoints, devices and files of networks that no pod of this node is in are taken away
 * at the first look after a start, and whenever a network could not be left as it should be.
 */
import { readdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { blockObjects, type SeenBlock } from "../ipam/blocks/index.ts";
import { type AgentConfig, publishedPath } from "../config/index.ts";
import { ApiError, deleteObject, type KubeClient, listRemembered } from "../kube/index.ts";
import { errorText, type Logger } from "../log/index.ts";
import {
  NETWORK_BLOCKS,
  NETWORK_ENDPOINTS,
  type NetworkBlock,
  NODE_LABEL,
  nodeLabel,
  ObjectError,
  parseNetworkBlock,
  parseNetworkEndpoints,
} from "../crd/index.ts";
import { networksNamed } from "../peers/index.ts";
import { listPodLinks } from "../dataplane/pod-link/index.ts";
import type { OwnFacts } from "../nodes/index.ts";
import type { InstanceMachine } from "./instance-machine.ts";
import { hasAttachments, ipamOf, removeDefinition } from "./instance-records.ts";

export interface LeftoversOptions {
  client: KubeClient;
  config: AgentConfig;
  log: Logger;
  machine: Pick<InstanceMachine, "openNetworkNetns" | "rtnl">;
}

/** What a network has left, for words. */
interface Left {
  blocks: NetworkBlock[];
  endpoints: { name: string; uid: string }[];
}

/** Networks of which something is left in the API server or on this node. @param own our Node as it is. @param held networks whose namespaces have names here. @throws ApiError */
export async function findLeftovers(
  { client, config }: LeftoversOptions,
  own: OwnFacts,
  held: readonly string[],
): Promise<Map<string, Left>> {
  const found = new Map<string, Left>();
  const of = (network: string): Left => {
    const left = found.get(network) ?? { blocks: [], endpoints: [] };
    found.set(network, left);
    return left;
  };
  const ours = `${NODE_LABEL}=${nodeLabel(own.name)}`;
  for (const block of await parsed(client, NETWORK_BLOCKS, ours, parseNetworkBlock))
    if (block.node === own.name) of(block.network).blocks.push(block);
  for (const one of await parsed(client, NETWORK_ENDPOINTS, ours, parseNetworkEndpoints))
    if (one.node === own.name) of(one.network).endpoints.push(one);
  const named = own.vtepAnnotation === undefined ? [] : networksNamed(own.vtepAnnotation);
  for (const network of [...named, ...held, ...definedHere(config)]) of(network);
  found.delete(config.network);
  return found;
}

/** Networks of which this node has written down that it takes part in them. */
export function definedHere({ dataDir }: Pick<AgentConfig, "dataDir">): string[] {
  try {
    const names = readdirSync(join(dataDir, "networks")).filter((name) => name.endsWith(".json"));
    return names.map((name) => name.slice(0, -".json".length));
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "ENOENT") return [];
    throw error;
  }
}

/** Takes away what a network has left; nobody may join it meanwhile. @throws ApiError, BlockError, IpamError, SysError, NetlinkError */
export async function removeLeftovers(
  { client, config, log, machine }: LeftoversOptions,
  network: string,
  { blocks, endpoints }: Left,
): Promise<void> {
  const did = [...removeDevices(machine, network)];
  rmSync(publishedPath(config.runDir, network), { force: true });
  for (const { name, uid } of endpoints)
    if (await deleteObject(client, NETWORK_ENDPOINTS, name, uid)) did.push(`NetworkEndpoints ${name}`);
  const ipam = ipamOf({ dataDir: config.dataDir, network }, log);
  const objects = blockObjects(client);
  for (const block of blocks) {
    if (!ipam.retire(block.cidr)) continue;
    await deletion(objects, block);
    did.push(`NetworkBlock ${block.name}`);
  }
  removeDefinition(config, network);
  if (did.length > 0) log.info("took away what was left of a network without pods on this node", { network, did });
}

async function deletion(objects: ReturnType<typeof blockObjects>, { name, uid }: SeenBlock): Promise<void> {
  try {
    await objects.delete(name, uid);
  } catch (error) {
    if (!(error instanceof ApiError && (error.status === 404 || error.status === 409))) throw error;
  }
}

/**
 * Whether pods of a network are on this node, by its records or by links in its namespace: records may be lost under pods that run.
 * For networks that this node has no part in at present. @throws SysError, NetlinkError
 */
export function hasPods({ config, machine }: Pick<LeftoversOptions, "config" | "machine">, network: string): boolean {
  if (hasAttachments(config, network)) return true;
  const netns = machine.openNetworkNetns(network);
  if (!netns) return false;
  try {
    using rtnl = machine.rtnl(netns);
    return listPodLinks(rtnl).length > 0;
  } finally {
    netns.close();
  }
}

/** Devices of a network whose namespace is there without pods: its VNI is free then. */
function* removeDevices(machine: LeftoversOptions["machine"], network: string): Generator<string> {
  const netns = machine.openNetworkNetns(network);
  if (!netns) return;
  try {
    using rtnl = machine.rtnl(netns);
    for (const { kind, index, name } of rtnl.links()) {
      // The host's end of an uplink goes with the one in there.
      if (kind !== "vxlan" && kind !== "bridge" && kind !== "veth") continue;
      rtnl.execute({ op: "del", kind: "link", link: { index, name } });
      yield `link ${name}`;
    }
  } finally {
    netns.close();
  }
}

/** Objects of a resource that need not be defined; what makes no sense is nobody's. */
async function parsed<T>(
  client: KubeClient,
  collection: string,
  selector: string,
  parse: (object: unknown) => T,
): Promise<T[]> {
  let objects: unknown[];
  try {
    objects = await listRemembered(client, collection, selector);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return [];
    throw error;
  }
  return objects.flatMap((object) => {
    try {
      return [parse(object)];
    } catch (error) {
      if (error instanceof ObjectError) return [];
      throw new Error(errorText(error), { cause: error });
    }
  });
}
