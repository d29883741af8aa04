/**
 * The CIDRs of the cluster's Services: what the agent is configured to, or else what the API server itself says, which has an
 * object for them since Kubernetes 1.33 (ServiceCIDR, KEP-1880).
 */
import { parseCidr } from "../addr/index.ts";
import { ApiError, getObject, type KubeClient } from "../kube/index.ts";

const SERVICE_CIDRS = "/apis/networking.k8s.io/v1/servicecidrs";
/** The one that every cluster has, made from kube-apiserver's flag. */
const NAME = "kubernetes";

/** Them, canonical; none where nobody says. @throws ApiError when the API server cannot be asked */
export async function serviceCidrsOf(client: KubeClient, configured: readonly string[]): Promise<readonly string[]> {
  if (configured.length > 0) return configured;
  try {
    const object = await getObject(client, SERVICE_CIDRS, NAME);
    const { cidrs = [] } = (object as { spec?: { cidrs?: string[] } } | undefined)?.spec ?? {};
    return cidrs.map(parseCidr);
  } catch (error) {
    // An older server does not know the object, an older role does not grant it.
    if (error instanceof ApiError && (error.status === 404 || error.status === 403)) return [];
    throw error;
  }
}
