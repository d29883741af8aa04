/** Which claim a pod uses: the one that its annotation names, otherwise the one that names the pod. */
import { BlockError } from "../blocks/index.ts";
import { ApiError } from "../../kube/index.ts";
import type { IPClaimInfo } from "../../crd/index.ts";
import { type ClaimObjects, readClaim } from "./objects.ts";

/** A pod that is to have an interface in a network, and perhaps a claim's addresses on it. */
export interface ClaimingPod {
  namespace: string;
  podName: string;
  /** Tells it from an earlier or a later pod of its name, where its runtime says it. */
  podUid?: string;
  /** The claim that its annotation names. */
  claimName?: string;
}

/**
 * The pod's claim in a network as it is now; undefined when it has none.
 * @throws ApiError. BlockError `refused`: the named one does not exist or is another network's, or two claims name the pod
 */
export async function claimOfPod(
  objects: Pick<ClaimObjects, "get" | "list">,
  network: string,
  { namespace, podName, claimName }: ClaimingPod,
): Promise<IPClaimInfo | undefined> {
  const whose = `pod ${namespace}/${podName}`;
  if (claimName !== undefined) {
    const object = await objects.get(namespace, claimName);
    const names = `${whose} names IPClaim ${claimName}`;
    if (object === undefined)
      throw new BlockError("refused", `${names}, which does not exist in namespace ${namespace}; create it`);
    const claim = readClaim(object);
    if (claim.network === network) return claim;
    throw new BlockError("refused", `${names} for network ${network}, which is of network ${claim.network}`);
  }
  const claims = (await listed(objects, namespace))
    // Others are not read: one that makes no sense is no concern of this pod.
    .filter((object) => (object as { spec?: { podName?: unknown } }).spec?.podName === podName)
    .map(readClaim)
    .filter((claim) => claim.network === network);
  if (claims.length < 2) return claims[0];
  const names = claims.map(({ name }) => name).sort();
  throw new BlockError(
    "refused",
    `${whose} is named by ${names.length} IPClaims of network ${network}, ${names.join(" and ")}; delete all but one, or` +
      " name one in the pod's annotation",
  );
}

async function listed(objects: Pick<ClaimObjects, "list">, namespace: string): Promise<unknown[]> {
  try {
    return await objects.list(namespace);
  } catch (error) {
    // Where nobody has defined the resource (an older installation's manifests) there are none.
    if (error instanceof ApiError && error.status === 404) return [];
    throw error;
  }
}
