/**
 * The object that shows the default network among the others. It defines nothing: the agents' configuration does. So it is made
 * from that, and what others change in it is put back. Its spec cannot be changed in place where the API server keeps to the
 * rules of the resource, so another one is made then.
 */
import { ApiError, createObject, deleteObject, type KubeClient, replaceObject } from "../kube/index.ts";
import type { AgentConfig } from "../config/index.ts";
import {
  API_VERSION,
  DEFAULT_NETWORK,
  ObjectError,
  parsePodNetwork,
  POD_NETWORK_KIND,
  POD_NETWORKS,
} from "../crd/index.ts";
import type { Json } from "../json/index.ts";

const MANAGED = { "app.kubernetes.io/managed-by": "skylane" } as const;

/** What it is to be; undefined where the configuration does not say the whole cluster's CIDRs, or more of them than an object can have. */
export function defaultObject(
  { clusterCidrs, masquerade, directRouting, mtu }: AgentConfig,
  vni: number,
): Json | undefined {
  const object = {
    apiVersion: API_VERSION,
    kind: POD_NETWORK_KIND.kind,
    metadata: { name: DEFAULT_NETWORK, labels: MANAGED },
    spec: {
      vni,
      cidrs: clusterCidrs,
      mode: "Routed",
      masquerade: masquerade.enabled,
      directRouting,
      ...(typeof mtu === "number" && { mtu }),
    },
  };
  return meaning(object) === undefined ? undefined : object;
}

/**
 * Makes the object what it is to be.
 * @param there as it was read, if there is one. @param current says before each write whether we may still write
 * @throws ApiError; `reason` "Conflict" when somebody changed it meanwhile
 */
export async function keepDefaultObject(
  client: KubeClient,
  wanted: Json | undefined,
  there: Json | undefined,
  current: () => boolean,
): Promise<void> {
  const metadata = (there?.["metadata"] ?? {}) as { uid?: string; labels?: Record<string, string> };
  if (wanted && there && meaning(there) === meaning(wanted)) {
    if (Object.entries(MANAGED).every(([key, value]) => metadata.labels?.[key] === value)) return;
    const labels = { ...metadata.labels, ...MANAGED };
    await replaceObject(client, POD_NETWORKS, { ...there, metadata: { ...metadata, labels } });
    return;
  }
  // Without a configuration to hold it against only our own is taken away: others' objects of that name are nobody's business.
  const ours =
    wanted !== undefined || Object.entries(MANAGED).every(([key, value]) => metadata.labels?.[key] === value);
  if (there && ours) await deleteObject(client, POD_NETWORKS, DEFAULT_NETWORK, metadata.uid ?? "");
  if (!wanted || !current()) return;
  try {
    await createObject(client, POD_NETWORKS, wanted);
  } catch (error) {
    // Somebody else has made one: the watch shows it, and it is judged then.
    if (!(error instanceof ApiError && error.reason === "AlreadyExists")) throw error;
  }
}

/** What its spec says, with what is left out filled in; undefined where it is none. */
function meaning(object: Json): string | undefined {
  const { metadata, spec } = object as { metadata: Json; spec: unknown };
  const known = { uid: "-", resourceVersion: "-", creationTimestamp: "1970-01-01T00:00:00Z" };
  try {
    return JSON.stringify(parsePodNetwork({ metadata: { name: metadata["name"], ...known }, spec }));
  } catch (error) {
    if (error instanceof ObjectError || error instanceof RangeError) return undefined;
    throw error;
  }
}
