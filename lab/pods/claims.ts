/** Claims of addresses in the lab, as a workload's owner makes them: objects in its API server. */
import { CommandError } from "../../src/cli/index.ts";
import { type ApiClient, ApiError, type KubeObject } from "../api-client.ts";
import { ensureNamespace } from "./pod-objects.ts";

const API = "/apis/skylane.dev/v1alpha1";
const pathOf = (namespace: string): string => `${API}/namespaces/${encodeURIComponent(namespace)}/ipclaims`;

/** What may be asked of a claim. */
export interface ClaimOptions {
  /** The pod network that it is in. */
  network: string;
  /** Its namespace ("default"); made where it is not there. */
  namespace?: string;
  /** Name of the pod that is to have it; one that names the claim by itself otherwise. */
  podName?: string;
  /** At most one a family; any free ones by default. */
  ips?: readonly string[];
  mac?: string;
}

/** A claim as the API server has it. */
export interface LabClaim {
  name: string;
  namespace: string;
  network: string;
  /** Name of the pod that it is for, where it says one. */
  podName?: string;
  /** The addresses that it holds; before its first use those that it asks for. */
  ips: string[];
  /** As {@link ips}. */
  mac?: string;
  /** The pod that has it in use, or had it last, and that pod's node; absent before its first use. */
  pod?: string;
  node?: string;
}

interface ClaimObject extends KubeObject {
  metadata: KubeObject["metadata"] & { namespace: string };
  spec: { network: string; podName?: string; ips?: string[]; mac?: string };
  status?: { ips?: string[]; mac?: string; pod?: string; node?: string };
}

function labClaim({ metadata, spec, status = {} }: ClaimObject): LabClaim {
  const { network, podName } = spec;
  const { pod, node, mac = spec.mac, ips = spec.ips ?? [] } = status;
  return {
    name: metadata.name,
    namespace: metadata.namespace,
    network,
    ...(podName !== undefined && { podName }),
    ips,
    ...(mac !== undefined && { mac }),
    ...(pod !== undefined && { pod }),
    ...(node !== undefined && { node }),
  };
}

/** All of them, by namespace and name. */
export async function listClaims(api: ApiClient): Promise<LabClaim[]> {
  const { items } = await api.call<{ items: ClaimObject[] }>("GET", `${API}/ipclaims`);
  const nameOf = ({ namespace, name }: LabClaim): string => `${namespace}/${name}`;
  return items.map(labClaim).sort((a, b) => nameOf(a).localeCompare(nameOf(b), "en", { numeric: true }));
}

/** Makes a claim. @throws ApiError as the API server said it */
export async function addClaim(api: ApiClient, name: string, options: ClaimOptions): Promise<LabClaim> {
  const { namespace = "default", ...spec } = options;
  await ensureNamespace(api, namespace);
  const object = { apiVersion: "skylane.dev/v1alpha1", kind: "IPClaim", metadata: { name }, spec };
  return labClaim(await api.call<ClaimObject>("POST", pathOf(namespace), object));
}

/** Runs a request about one claim. @throws CommandError when there is none of that name */
async function one<T>(name: string, namespace: string, request: Promise<T>): Promise<T> {
  try {
    return await request;
  } catch (error) {
    if (!(error instanceof ApiError && error.status === 404)) throw error;
    throw new CommandError(`there is no claim "${name}" in namespace "${namespace}"`);
  }
}

const claimPath = (name: string, namespace: string): string => `${pathOf(namespace)}/${encodeURIComponent(name)}`;

/** A claim. @throws CommandError when there is none of that name */
export const readClaim = async (api: ApiClient, name: string, namespace = "default"): Promise<LabClaim> =>
  labClaim(await one(name, namespace, api.call<ClaimObject>("GET", claimPath(name, namespace))));

/** Removes a claim, which frees its addresses. @throws CommandError when there is none of that name */
export async function removeClaim(api: ApiClient, name: string, namespace = "default"): Promise<void> {
  await one(name, namespace, api.call("DELETE", claimPath(name, namespace)));
}
