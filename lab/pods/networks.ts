/** Pod networks of the lab, as an administrator defines them: objects in its API server. */
import { CommandError } from "../../src/cli/index.ts";
import { type ApiClient, ApiError, type KubeObject } from "../api-client.ts";

const PATH = "/apis/skylane.dev/v1alpha1/podnetworks";
/** The first VNI that is given where none is asked for; the default network's is 4096. */
const FIRST_VNI = 5000;

/** What may be asked of a network. */
export interface NetworkOptions {
  /** One a family at most. */
  cidrs: readonly string[];
  /** The lowest that no other network has, from 5000 on. */
  vni?: number;
  mode?: "Routed" | "Bridged";
  blockSize?: number;
  mtu?: number;
  directRouting?: "auto" | "off";
  /** Of a bridged network: what any pod may send from besides its own addresses. */
  allowedAddresses?: readonly string[];
  masquerade?: boolean;
  /** Labels that a namespace must have for its pods to attach; every namespace's may by default. */
  namespaceLabels?: Readonly<Record<string, string>>;
}

/** A network as the API server has it. */
export interface LabNetwork {
  name: string;
  vni: number;
  mode: string;
  cidrs: string[];
}

interface NetworkObject extends KubeObject {
  spec: { vni: number; mode?: string; cidrs?: string[] };
}

/** All of them but the default one, which its object only shows, by name. */
export async function listNetworks(api: ApiClient): Promise<LabNetwork[]> {
  const { items } = await api.call<{ items: NetworkObject[] }>("GET", PATH);
  return items
    .filter(({ metadata }) => metadata.name !== "default")
    .map(({ metadata, spec: { vni, mode = "Routed", cidrs = [] } }) => ({ name: metadata.name, vni, mode, cidrs }))
    .sort((a, b) => a.name.localeCompare(b.name, "en"));
}

/** Defines a network. @throws ApiError as the API server said it */
export async function addNetwork(api: ApiClient, name: string, options: NetworkOptions): Promise<LabNetwork> {
  const { namespaceLabels = {}, vni: asked, mode = "Routed", cidrs, ...rest } = options;
  const used = new Set(asked === undefined ? (await listNetworks(api)).map(({ vni }) => vni) : []);
  let vni = asked ?? FIRST_VNI;
  while (used.has(vni)) vni++;
  const namespaceSelector = Object.keys(namespaceLabels).length > 0 ? { matchLabels: namespaceLabels } : {};
  await api.call("POST", PATH, {
    apiVersion: "skylane.dev/v1alpha1",
    kind: "PodNetwork",
    metadata: { name },
    spec: { vni, mode, cidrs, namespaceSelector, ...rest },
  });
  return { name, vni, mode, cidrs: [...cidrs] };
}

/** Removes a network. @throws CommandError when there is none of that name */
export async function removeNetwork(api: ApiClient, name: string): Promise<void> {
  try {
    await api.call("DELETE", `${PATH}/${encodeURIComponent(name)}`);
  } catch (error) {
    if (error instanceof ApiError && error.status === 404) throw new CommandError(`there is no pod network "${name}"`);
    throw error;
  }
}
