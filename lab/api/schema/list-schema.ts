/**
 * Which lists of which resource merge by element. Kubernetes keeps this in its Go types (patchMergeKey, listMapKey);
 * a strategic merge patch and a server-side apply need it. Lists that are not named here are one value, replaced
 * whole, which is also the rule for custom resources.
 */
import { isObject, type Json, type ResourceType } from "../types.ts";

/** How a list merges: by keys of its elements, or as a set of plain values. */
export type ListRule = { keys: readonly string[]; patchKey: string } | "set";

const by = (...keys: [string, ...string[]]): ListRule => ({ keys, patchKey: keys[0] });

const EVERY_KIND: Record<string, ListRule> = {
  "metadata.finalizers": "set",
  "metadata.ownerReferences": by("uid"),
};

const CONTAINER: Record<string, ListRule> = {
  env: by("name"),
  ports: by("containerPort", "protocol"),
  volumeMounts: by("mountPath"),
  volumeDevices: by("devicePath"),
};

function containers(path: string): Record<string, ListRule> {
  const inner = Object.entries(CONTAINER).map(([field, rule]) => [`${path}.${field}`, rule]);
  return { [path]: by("name"), ...Object.fromEntries(inner) };
}

const BY_KIND: Record<string, Record<string, ListRule>> = {
  "/nodes": { "spec.podCIDRs": "set", "status.addresses": by("type"), "status.conditions": by("type") },
  "skylane.dev/podnetworks": { "status.conditions": by("type") },
  "skylane.dev/ipclaims": { "status.conditions": by("type") },
  "skylane.dev/egressgateways": { "status.conditions": by("type") },
  "/namespaces": { "status.conditions": by("type") },
  "/pods": {
    ...containers("spec.containers"),
    ...containers("spec.initContainers"),
    ...containers("spec.ephemeralContainers"),
    "spec.volumes": by("name"),
    "spec.imagePullSecrets": by("name"),
    "spec.hostAliases": by("ip"),
    "spec.topologySpreadConstraints": by("topologyKey", "whenUnsatisfiable"),
    "status.conditions": by("type"),
    "status.podIPs": by("ip"),
  },
};

/** The rule of the list at a path of field names; undefined when the list is one value. */
export function listRule(type: ResourceType, path: readonly string[]): ListRule | undefined {
  const name = path.join(".");
  return EVERY_KIND[name] ?? BY_KIND[`${type.group}/${type.plural}`]?.[name];
}

/** The key values of a list element as a canonical text; undefined when it has none of them. */
export function elementKey(rule: Exclude<ListRule, "set">, element: Json): string | undefined {
  if (!isObject(element)) return undefined;
  const key = elementKeys(rule, element);
  return Object.keys(key).length === 0 ? undefined : JSON.stringify(key);
}

/** The key fields of a list element; a container port without protocol is TCP, as the real server defaults it. */
export function elementKeys(rule: Exclude<ListRule, "set">, element: Json): Record<string, Json> {
  const keys: Record<string, Json> = {};
  if (!isObject(element)) return keys;
  for (const key of rule.keys) {
    const value = element[key] ?? (key === "protocol" ? "TCP" : undefined);
    if (value !== undefined) keys[key] = value;
  }
  return keys;
}
