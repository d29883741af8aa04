/** Writes one condition of a Node, and nothing else of its status. */
import type { KubeClient } from "../client/client.ts";
import { METADATA_ONLY, NODES } from "./nodes.ts";

/** A condition as it is to be. */
export interface NodeCondition {
  type: string;
  status: "True" | "False";
  /** One word, for programs. */
  reason: string;
  message: string;
}

/**
 * Sets a condition by a strategic merge patch, which finds it by its type and leaves all others alone.
 * @throws ApiError (status 404 when the Node does not exist)
 */
export async function patchNodeCondition(
  client: KubeClient,
  node: string,
  condition: NodeCondition,
  now = new Date(),
): Promise<void> {
  const time = `${now.toISOString().slice(0, 19)}Z`;
  const conditions = [{ ...condition, lastHeartbeatTime: time, lastTransitionTime: time }];
  await client.json({
    method: "PATCH",
    path: `${NODES}/${encodeURIComponent(node)}/status`,
    contentType: "application/strategic-merge-patch+json",
    accept: METADATA_ONLY,
    body: { status: { conditions } },
  });
}
