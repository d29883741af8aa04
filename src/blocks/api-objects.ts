/** Blocks through the API server: what this folder asks of it, as requests of one client. */
import { createObject, deleteObject, getObject, type KubeClient, listObjects, replaceObject } from "../kube/index.ts";
import { NETWORK_BLOCKS } from "../networks/index.ts";
import type { ApiObject, BlockObjects } from "./objects.ts";

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
