/** Writes our own annotations on a Node, and nothing else of it. */
import type { KubeClient } from "./client.ts";
import { METADATA_ONLY, NODES } from "./nodes.ts";
import { ANNOTATION_PREFIX } from "./types.ts";

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
