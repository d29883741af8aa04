/**
 * What a container runtime asks of a chain of CNI plugins, as libcni 1.3 composes it: each plugin's configuration
 * with the list's name and version, the result so far, and the runtime's values for the capabilities that the
 * plugin declares. Pure: the requests of a verb, in order, one after the other.
 */

/** A network configuration list, as far as a runtime looks into it. */
export interface ConfList {
  name: string;
  cniVersion: string;
  plugins: Record<string, unknown>[];
}

/** A verb of the CNI specification that concerns an attachment. */
export type Verb = "ADD" | "DEL" | "CHECK";

/** The newest version of the specification that this runtime knows. */
const NEWEST = "1.1.0";

function compareVersions(a: string, b: string): number {
  const [x, y] = [a, b].map((version) => version.split(".").map(Number)) as [number[], number[]];
  for (let i = 0; i < 3; i++) {
    const difference = (x[i] ?? 0) - (y[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/**
 * Reads a configuration list. Of `cniVersions` and `cniVersion` the highest is taken that the runtime knows
 * (CNI 1.1.0, section 1: "cniVersions").
 * @throws Error saying what is missing
 */
export function parseConfList(text: string, file: string): ConfList {
  const { name, cniVersion, cniVersions, plugins } = JSON.parse(text) as Record<string, unknown>;
  if (typeof name !== "string" || !name) throw new Error(`${file} has no "name"`);
  if (!Array.isArray(plugins) || plugins.length === 0) throw new Error(`${file} has no "plugins"`);
  const offered = [cniVersion, ...(Array.isArray(cniVersions) ? cniVersions : [])].filter(
    (version): version is string => typeof version === "string" && compareVersions(version, NEWEST) <= 0,
  );
  const version = offered.sort(compareVersions).at(-1) ?? "0.2.0";
  return { name, cniVersion: version, plugins: plugins as Record<string, unknown>[] };
}

/** One call of one plugin. */
export interface PluginRequest {
  /** Name of its executable. */
  type: string;
  /** What it reads from stdin. */
  config: Record<string, unknown>;
}

/** The request to one plugin of a list. */
export function pluginRequest(
  list: ConfList,
  plugin: Record<string, unknown>,
  runtimeConfig: Readonly<Record<string, unknown>>,
  prevResult: Record<string, unknown> | undefined,
): PluginRequest {
  const { type } = plugin;
  if (typeof type !== "string" || !/^[a-zA-Z0-9][\w.-]*$/.test(type))
    throw new Error(`a plugin of "${list.name}" has no usable "type": ${JSON.stringify(type)}`);
  const capabilities = (plugin["capabilities"] ?? {}) as Record<string, unknown>;
  const values = Object.entries(runtimeConfig).filter(([key]) => capabilities[key] === true);
  return {
    type,
    config: {
      ...plugin,
      name: list.name,
      cniVersion: list.cniVersion,
      ...(values.length > 0 ? { runtimeConfig: Object.fromEntries(values) } : {}),
      ...(prevResult ? { prevResult } : {}),
    },
  };
}

/** The plugins of a list in the order of a verb: DEL takes down last what came first. */
export const inOrder = (list: ConfList, verb: Verb): Record<string, unknown>[] =>
  verb === "DEL" ? list.plugins.toReversed() : list.plugins;

/** CNI_ARGS as kubelet's runtimes give them. */
export function cniArgs(pod: { namespace: string; name: string; uid: string; containerId: string }): string {
  return [
    "IgnoreUnknown=1",
    `K8S_POD_NAMESPACE=${pod.namespace}`,
    `K8S_POD_NAME=${pod.name}`,
    `K8S_POD_INFRA_CONTAINER_ID=${pod.containerId}`,
    `K8S_POD_UID=${pod.uid}`,
  ].join(";");
}

interface Result {
  interfaces?: { name?: string; sandbox?: string }[];
  ips?: { address?: string; interface?: number }[];
}

/**
 * The addresses of an interface in the sandbox by a CNI result (of 0.3.0 and later), without their prefix lengths. Those that
 * name no interface are of the one that the runtime asked for.
 */
export function resultIps(result: Record<string, unknown>, ifname: string): string[] {
  const { interfaces = [], ips = [] } = result as Result;
  const at = interfaces.findIndex(({ name, sandbox }) => name === ifname && sandbox !== undefined && sandbox !== "");
  return ips
    .filter((ip) => (ip.interface ?? at) === at)
    .map(({ address }) => (address ?? "").split("/")[0] as string)
    .filter(Boolean);
}
