/** Writes annotations on a Node or a Pod, and nothing else of it. */
import type { KubeClient } from "../client/client.ts";
import { podsOf } from "../meta.ts";
import { METADATA_ONLY, NODES } from "./nodes.ts";
import { ANNOTATION_PREFIX } from "../types.ts";

/**
 * Sets or, with null, removes annotations under `skylane.dev/` in one merge patch. It names no resourceVersion and
 * touches no other key, so it cannot conflict with kubelet or anybody else. Retrying is the caller's, who knows
 * whether the values still hold.
 * @throws ApiError (status 404 when the Node does not exist); RangeError for a key that is not ours.
 */
export async function patchNodeAnnotations(
  client: KubeClient,
  node: string,
  annotations: Readonly<Record<string, string | null>>,
  signal?: AbortSignal,
): Promise<void> {
  for (const key of Object.keys(annotations)) {
    if (!key.startsWith(ANNOTATION_PREFIX)) throw new RangeError(`"${key}" is not an annotation of Skylane`);
  }
  await client.json({
    method: "PATCH",
    path: `${NODES}/${encodeURIComponent(node)}`,
    contentType: "application/merge-patch+json",
    accept: METADATA_ONLY,
    body: { metadata: { annotations } },
    signal,
  });
}

/** One pod, and no later one of its name. */
export interface PodIdentity {
  namespace: string;
  name: string;
  uid: string;
}

/**
 * Sets annotations of a Pod in one merge patch of its status, with which metadata may be written: the right to patch pods
 * themselves would be one to change what they run. Retrying is the caller's.
 * @throws ApiError: 404 when there is none of that name, 409 when it is another one
 */
export async function patchPodAnnotations(
  client: KubeClient,
  { namespace, name, uid }: PodIdentity,
  annotations: Readonly<Record<string, string>>,
  signal?: AbortSignal,
): Promise<void> {
  await client.json({
    method: "PATCH",
    path: `${podsOf(namespace)}/${encodeURIComponent(name)}/status`,
    contentType: "application/merge-patch+json",
    accept: METADATA_ONLY,
    body: { metadata: { uid, annotations } },
    signal,
  });
}
