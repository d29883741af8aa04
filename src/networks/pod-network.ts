/** A pod network as an administrator defines it: the object `PodNetwork`, read strictly. */
import { addressBits, cidrOf, familyOf, ipScope, parseCidr } from "../addr/index.ts";
import { type LabelSelector, selectorOf } from "./label-selector.ts";
import { API_VERSION, BASE_PATH, isObject, metaOf, refuseKey, specOf, wholeOf, wordOf } from "./object.ts";

/** Where the objects are. */
export const POD_NETWORKS = `${BASE_PATH}/podnetworks`;
export const POD_NETWORK_KIND = { apiVersion: API_VERSION, kind: "PodNetwork" } as const;

/** `sky-<name>` is a network namespace, and the name a part of other objects' names. */
const NAME = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;
const MAX_VNI = 0xff_ffff;
const DEFAULT_BLOCK_SIZE = 64;

/** A pod network. */
export interface PodNetworkInfo {
  name: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  vni: number;
  /** Canonical, at most one a family. */
  cidrs: readonly string[];
  mode: "Routed" | "Bridged";
  /** Addresses that a node claims at once, a power of two. */
  blockSize: number;
  /** Of the pods' interfaces, in bytes; what the underlay carries by default. */
  mtu?: number;
  /** Namespaces whose pods may attach. Absent: none. */
  namespaceSelector?: LabelSelector;
}

/** Reads one. @throws ObjectError naming object and key */
export function parsePodNetwork(object: unknown): PodNetworkInfo {
  const { name, uid, resourceVersion, creationTimestamp } = metaOf(object, "PodNetwork");
  const what = `PodNetwork ${name}`;
  if (!NAME.test(name)) refuseKey(what, "metadata.name", name, 'up to 40 of a–z, 0–9 and "-"');
  const spec = specOf(object, what);
  const vni = wholeOf(what, spec, "vni", { min: 1, max: MAX_VNI });
  const mtu = wholeOf(what, spec, "mtu", { min: 576, max: 65_535 });
  const blockSize = wholeOf(what, spec, "blockSize", { min: 4, max: 65_536 }) ?? DEFAULT_BLOCK_SIZE;
  if ((blockSize & (blockSize - 1)) !== 0) refuseKey(what, "spec.blockSize", blockSize, "a power of two");
  const selector = spec["namespaceSelector"];
  return {
    name,
    uid,
    resourceVersion,
    creationTimestamp,
    vni: vni ?? refuseKey(what, "spec.vni", vni, `a whole number from 1 to ${MAX_VNI}`),
    cidrs: cidrsOf(what, spec["cidrs"], blockSize),
    mode: wordOf(what, spec, "mode", ["Routed", "Bridged"]),
    blockSize,
    ...(mtu !== undefined && { mtu }),
    ...(isObject(selector) && { namespaceSelector: selectorOf(what, selector) }),
  };
}

/** Whether nothing changed but what Skylane itself or the API server writes. */
export const samePodNetwork = (a: PodNetworkInfo, b: PodNetworkInfo): boolean =>
  JSON.stringify({ ...a, resourceVersion: "" }) === JSON.stringify({ ...b, resourceVersion: "" });

function cidrsOf(what: string, value: unknown, blockSize: number): string[] {
  const wanted = "a list of one or two CIDRs, at most one a family";
  if (!Array.isArray(value) || value.length === 0 || value.length > 2) refuseKey(what, "spec.cidrs", value, wanted);
  const cidrs = (value as unknown[]).map((one, i) => cidr(what, `spec.cidrs[${i}]`, one, blockSize));
  if (new Set(cidrs.map(familyOf)).size < cidrs.length) refuseKey(what, "spec.cidrs", value, wanted);
  return cidrs;
}

function cidr(what: string, key: string, value: unknown, blockSize: number): string {
  if (typeof value !== "string") refuseKey(what, key, value, "a CIDR");
  let canonical: string;
  try {
    canonical = parseCidr(value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return refuseKey(what, key, value, `a CIDR (${error.message})`);
  }
  const { first, prefix } = cidrOf(canonical);
  const family = familyOf(canonical);
  const network = canonical.slice(0, canonical.indexOf("/"));
  if (ipScope(network) !== "unicast") refuseKey(what, key, value, `unicast addresses, not ${ipScope(network)} ones`);
  if (first === 0n || addressBits(family) - prefix < Math.log2(blockSize))
    refuseKey(what, key, value, `wide enough for a block of ${blockSize} addresses`);
  return canonical;
}
