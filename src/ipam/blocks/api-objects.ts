/** Blocks through the API server: what this folder asks of it, as requests of one client. */
import {
  createObject,
  deleteObject,
  getObject,
  type KubeClient,
  listObjects,
  listRemembered,
  ObjectReflector,
  type ReflectorOptions,
  replaceObject,
} from "../../kube/index.ts";
import {
  NETWORK_BLOCKS,
  NETWORK_LABEL,
  type NetworkBlock,
  NODE_LABEL,
  nodeLabel,
  readNetworkBlock,
  sameObject,
} from "../../crd/index.ts";
import { type ApiObject, type BlockObjects, readBlocks, type SeenBlock } from "./objects.ts";

/** The blocks of all networks. */
export const blockObjects = (client: KubeClient): BlockObjects => ({
  create: async (object) => (await createObject(client, NETWORK_BLOCKS, { ...object })) as ApiObject,
  get: async (name) => (await getObject(client, NETWORK_BLOCKS, name)) as ApiObject | undefined,
  replace: async (object) => (await replaceObject(client, NETWORK_BLOCKS, { ...object })) as ApiObject,
  delete: async (name, uid, resourceVersion) => {
    await deleteObject(client, NETWORK_BLOCKS, name, uid, resourceVersion);
  },
  list: async (selector) => (await listObjects(client, NETWORK_BLOCKS, selector)) as ApiObject[],
});

/**
 * The blocks of a network as the API server remembers them, which may be behind: thousands of nodes may claim their first
 * block at once, and must not have each the whole list read from storage. @throws ApiError (as a rejection)
 */
export const takenBlocks = async (client: KubeClient, network: string): Promise<SeenBlock[]> =>
  readBlocks((await listRemembered(client, NETWORK_BLOCKS, `${NETWORK_LABEL}=${network}`)) as ApiObject[]);

/** The blocks of one node in all networks, in one watch however many there are; it is to be started. */
export const watchOwnBlocks = (
  client: KubeClient,
  node: string,
  log: ReflectorOptions["log"],
): ObjectReflector<NetworkBlock> =>
  new ObjectReflector(
    client,
    {
      what: "blocks of this node",
      path: NETWORK_BLOCKS,
      labelSelector: `${NODE_LABEL}=${nodeLabel(node)}`,
      parse: readNetworkBlock,
      same: sameObject,
    },
    { ...(log && { log }) },
  );
