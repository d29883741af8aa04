/**
 * Pods as the API server knows them. The lab's kubelet needs no object to make a pod; an agent reads it for what the pod asks
 * for, further networks, and for its labels, by which policies select it. So a pod has one where it has any of those.
 */
import { type ApiClient, ApiError } from "../api-client.ts";
import type { PodRecord } from "../cluster/records.ts";

const pathOf = (namespace: string): string => `/api/v1/namespaces/${namespace}/pods`;

/** Runs a request for which the object may be there, or gone, already. */
async function unless(status: number, request: Promise<unknown>): Promise<void> {
  try {
    await request;
  } catch (error) {
    if (!(error instanceof ApiError && error.status === status)) throw error;
  }
}

/** Makes a namespace, with these labels, where it is not there yet. */
export const ensureNamespace = (api: ApiClient, name: string, labels: Record<string, string> = {}): Promise<void> =>
  unless(409, api.call("POST", "/api/v1/namespaces", { metadata: { name, labels } }));

/** Whether a pod has an object. */
export const hasObject = ({ annotations, labels }: Pick<PodRecord, "annotations" | "labels">): boolean =>
  annotations !== undefined || labels !== undefined;

/** Makes the object of a pod, with what it asks for, and its namespace. Returns the pod with the uid that the API server gave it. */
export async function makePodObject(api: ApiClient, pod: PodRecord): Promise<PodRecord> {
  const { name, namespace, node, annotations = {}, labels = {} } = pod;
  await ensureNamespace(api, namespace);
  const spec = { nodeName: node, containers: [{ name: "main", image: "none" }] };
  await unless(409, api.call("POST", pathOf(namespace), { metadata: { name, annotations, labels }, spec }));
  const { metadata } = await api.call("GET", `${pathOf(namespace)}/${name}`);
  return { ...pod, uid: metadata["uid"] as string };
}

/** Says what kubelet says once a pod runs: its phase and addresses. Nothing where the pod is gone meanwhile. */
export const tellRunning = (api: ApiClient, { namespace, name, ips }: PodRecord): Promise<void> =>
  unless(
    404,
    api.call(
      "PATCH",
      `${pathOf(namespace)}/${name}/status`,
      { status: { phase: "Running", podIP: ips[0], podIPs: ips.map((ip) => ({ ip })) } },
      "application/merge-patch+json",
    ),
  );

/** Removes the object of a pod, if there is one. */
export const removePodObject = (api: ApiClient, { namespace, name }: PodRecord): Promise<void> =>
  unless(404, api.call("DELETE", `${pathOf(namespace)}/${name}`));
