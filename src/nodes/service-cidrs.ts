/**
 * The CIDRs of the cluster's Services: what the agent is configured to, or else what the API server itself says, which has
 * objects for them since Kubernetes 1.33 (ServiceCIDR, KEP-1880; 1.31 has them as v1beta1 where its administrator turned them on).
 * Nothing of it is remembered for ADD: a pod that missed a range would miss it for as long as it runs.
 */
import { parseCidr } from "../addr/index.ts";
import { ApiError, getObject, type KubeClient, listObjects } from "../kube/index.ts";

/** Versions of the API that have the objects, the one to prefer first. */
const COLLECTIONS = ["v1", "v1beta1"].map((version) => `/apis/networking.k8s.io/${version}/servicecidrs`);
/** The object that every cluster has, made from kube-apiserver's flag. */
const FIRST = "kubernetes";

/** All of them, canonical, each once; none where nobody says. @throws ApiError when the API server cannot be asked */
export async function serviceCidrsOf(client: KubeClient, configured: readonly string[]): Promise<readonly string[]> {
  if (configured.length > 0) return configured;
  for (const collection of COLLECTIONS) {
    const objects = await objectsIn(client, collection);
    if (objects !== undefined) return [...new Set(objects.flatMap(cidrsOf))];
  }
  return [];
}

/**
 * What counts of an object, whatever its condition Ready says: one that is being deleted stays for as long as Services have
 * addresses of it, and one that is not ready yet has Services a moment later.
 */
function cidrsOf(object: unknown): string[] {
  const { cidrs } = (object as { spec?: { cidrs?: string[] | null } } | undefined)?.spec ?? {};
  return (cidrs ?? []).map(parseCidr);
}

/** The objects of a version; undefined where the server does not know it, or the agent may not ask. @throws ApiError */
async function objectsIn(client: KubeClient, collection: string): Promise<unknown[] | undefined> {
  const all = await unlessRefused(() => listObjects(client, collection));
  if (all !== 403) return all === 404 ? undefined : all;
  // The role of an older installation has the right to get, and none to list.
  const one = await unlessRefused(() => getObject(client, collection, FIRST));
  return one === 403 || one === 404 || one === undefined ? undefined : [one];
}

/** An answer, or the status of a server or a role that has none. @throws ApiError for any other failure */
async function unlessRefused<T>(ask: () => Promise<T>): Promise<T | 403 | 404> {
  try {
    return await ask();
  } catch (error) {
    if (error instanceof ApiError && (error.status === 403 || error.status === 404)) return error.status;
    throw error;
  }
}
