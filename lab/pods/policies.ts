/** Network policies of the lab, as an administrator applies them: whatever kinds of policies the API server knows, from YAML or JSON. */
import { parseAllDocuments } from "yaml";
import { CommandError } from "../../src/cli/index.ts";
import { type ApiClient, ApiError, type KubeObject } from "../api-client.ts";

/** Kinds of policies and where their objects are. */
const KINDS: Readonly<Record<string, { group: string; plural: string; namespaced: boolean }>> = {
  NetworkPolicy: { group: "networking.k8s.io/v1", plural: "networkpolicies", namespaced: true },
  ClusterNetworkPolicy: {
    group: "policy.networking.k8s.io/v1alpha2",
    plural: "clusternetworkpolicies",
    namespaced: false,
  },
};

/** How often a policy is read again that somebody else writes at the same time; as often as kubectl does. */
const TRIES = 5;

/** What became of a policy. */
export interface AppliedPolicy {
  kind: string;
  /** Absent for policies of the cluster. */
  namespace?: string;
  name: string;
  result: "created" | "changed" | "deleted";
}

interface PolicyObject extends KubeObject {
  kind: string;
  metadata: KubeObject["metadata"] & { namespace?: string; resourceVersion?: string };
}

/** Policies of a text with one object a document. @throws CommandError naming the document that is none */
function policiesOf(text: string): PolicyObject[] {
  return parseAllDocuments(text).flatMap((document, i) => {
    const [error] = document.errors;
    if (error) throw new CommandError(`document ${i + 1} cannot be read: ${error.message}`);
    const object: unknown = document.toJS();
    if (object === null) return [];
    const { kind, metadata } = object as Partial<PolicyObject>;
    if (typeof kind !== "string" || !Object.hasOwn(KINDS, kind))
      throw new CommandError(
        `document ${i + 1} is no policy but a ${String(kind)}; policies are ${Object.keys(KINDS).join(", ")}`,
      );
    if (typeof metadata?.name !== "string")
      throw new CommandError(`document ${i + 1}, a ${kind}, has no metadata.name`);
    return object as PolicyObject;
  });
}

function placeOf({ kind, metadata }: PolicyObject): { collection: string; path: string; namespace?: string } {
  const { group, plural, namespaced } = KINDS[kind] as (typeof KINDS)[string];
  const namespace = namespaced ? (metadata.namespace ?? "default") : undefined;
  const within = namespace === undefined ? "" : `/namespaces/${encodeURIComponent(namespace)}`;
  const collection = `/apis/${group}${within}/${plural}`;
  return {
    collection,
    path: `${collection}/${encodeURIComponent(metadata.name)}`,
    ...(namespace !== undefined && { namespace }),
  };
}

const known = async (api: ApiClient, path: string): Promise<PolicyObject | undefined> => {
  try {
    return await api.call<PolicyObject>("GET", path);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) return undefined;
    throw error;
  }
};

/** Makes a policy, or replaces what it is. @throws ApiError */
async function put(api: ApiClient, object: PolicyObject): Promise<AppliedPolicy["result"]> {
  const { collection, path } = placeOf(object);
  for (let tries = 1; ; tries++) {
    const there = await known(api, path);
    try {
      if (!there) {
        await api.call("POST", collection, object);
        return "created";
      }
      const { resourceVersion } = there.metadata;
      await api.call("PUT", path, { ...object, metadata: { ...object.metadata, resourceVersion } });
      return "changed";
    } catch (error) {
      // A controller may have written the status of a policy right after it was read.
      if (!(error instanceof ApiError) || error.status !== 409 || tries === TRIES) throw error;
    }
  }
}

/** Makes policies what a text says they are. @throws CommandError when it holds something else; ApiError as the API server said it */
export async function applyPolicies(api: ApiClient, text: string): Promise<AppliedPolicy[]> {
  const done: AppliedPolicy[] = [];
  for (const object of policiesOf(text)) {
    const { namespace } = placeOf(object);
    const result = await put(api, object);
    const { kind, metadata } = object;
    done.push({ kind, ...(namespace !== undefined && { namespace }), name: metadata.name, result });
  }
  return done;
}

/** Deletes the policies that a text names. @throws CommandError when one is not there */
export async function deletePolicies(api: ApiClient, text: string): Promise<AppliedPolicy[]> {
  const done: AppliedPolicy[] = [];
  for (const object of policiesOf(text)) {
    const { path, namespace } = placeOf(object);
    const { kind, metadata } = object;
    try {
      await api.call("DELETE", path);
    } catch (error) {
      if (error instanceof ApiError && error.status === 404)
        throw new CommandError(
          `there is no ${kind} "${namespace === undefined ? "" : `${namespace}/`}${metadata.name}"`,
        );
      throw error;
    }
    done.push({ kind, ...(namespace !== undefined && { namespace }), name: metadata.name, result: "deleted" });
  }
  return done;
}
