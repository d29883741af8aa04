/** Claims, and the pods and nodes that use them, as requests of one client. */
import {
  getObject,
  type KubeClient,
  listObjects,
  METADATA_ONLY,
  NODES,
  patchStatus,
  podsOf,
} from "../../kube/index.ts";
import { IP_CLAIMS, ipClaimsOf } from "../../crd/index.ts";
import type { ClaimObjects } from "./objects.ts";

interface Pod {
  metadata?: { uid?: string };
  spec?: { nodeName?: string };
  status?: { phase?: string };
}

/** The claims of all networks. */
export const claimObjects = (client: KubeClient): ClaimObjects => ({
  get: (namespace, name) => getObject(client, ipClaimsOf(namespace), name),
  list: (namespace) => listObjects(client, namespace === undefined ? IP_CLAIMS : ipClaimsOf(namespace)),
  patchStatus: (namespace, name, status, version) =>
    patchStatus(client, ipClaimsOf(namespace), name, { ...status }, version),
  pod: async (namespace, name) => {
    const pod = (await getObject(client, podsOf(namespace), name)) as Pod | undefined;
    const phase = pod?.status?.phase ?? "";
    const uid = pod?.metadata?.uid ?? "";
    return pod && { uid, node: pod.spec?.nodeName ?? "", finished: phase === "Succeeded" || phase === "Failed" };
  },
  nodeExists: async (name) => (await getObject(client, NODES, name, METADATA_ONLY)) !== undefined,
});
