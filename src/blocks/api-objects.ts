/** Blocks and claims through the API server: what this folder asks of it, as requests of one client. */
import {
  createObject,
  deleteObject,
  getObject,
  type KubeClient,
  listObjects,
  METADATA_ONLY,
  NODES,
  patchStatus,
  podsOf,
  replaceObject,
} from "../kube/index.ts";
import { ipClaimsOf, NETWORK_BLOCKS } from "../networks/index.ts";
import type { ClaimObjects } from "./ip-claims.ts";
import type { ApiObject, BlockObjects } from "./objects.ts";

/** The blocks of all networks. */
export const blockObjects = (client: KubeClient): BlockObjects => ({
  create: async (object) => (await createObject(client, NETWORK_BLOCKS, { ...object })) as ApiObject,
  get: async (name) => (await getObject(client, NETWORK_BLOCKS, name)) as ApiObject | undefined,
  replace: async (object) => (await replaceObject(client, NETWORK_BLOCKS, { ...object })) as ApiObject,
  delete: async (name, uid) => {
    await deleteObject(client, NETWORK_BLOCKS, name, uid);
  },
  list: async (selector) => (await listObjects(client, NETWORK_BLOCKS, selector)) as ApiObject[],
});

/** The claims of all networks, and the pods and nodes that use them. */
export const claimObjects = (client: KubeClient): ClaimObjects => ({
  get: (namespace, name) => getObject(client, ipClaimsOf(namespace), name),
  patchStatus: (namespace, name, status, version) =>
    patchStatus(client, ipClaimsOf(namespace), name, { ...status }, version),
  pod: async (namespace, name) => {
    const pod = (await getObject(client, podsOf(namespace), name)) as
      | { metadata?: { uid?: string }; spec?: { nodeName?: string } }
      | undefined;
    return pod && { uid: pod.metadata?.uid ?? "", node: pod.spec?.nodeName ?? "" };
  },
  nodeExists: async (name) => (await getObject(client, NODES, name, METADATA_ONLY)) !== undefined,
});
