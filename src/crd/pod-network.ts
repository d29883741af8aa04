/** A pod network as an administrator defines it: the object `PodNetwork`. */
import { addressBits, cidrOf, type Family, familyOf, ipScope, networkAddress, parseCidr } from "../addr/index.ts";
import { allowedOf } from "./allowed.ts";
import { type LabelSelector, selectorOf } from "./label-selector.ts";
import { API_VERSION, isNetworkName, NETWORK_NAME_RULE } from "./names.ts";
import { type Meta, metaOf, parsedOf, refuseKey, specOf, wholeOf, wordOf } from "./object.ts";
import { isObject, type Json } from "../json/index.ts";

/** For objects that refer to one. */
export const POD_NETWORK_KIND = { apiVersion: API_VERSION, kind: "PodNetwork" } as const;

const MAX_VNI = 0xff_ffff;
const DEFAULT_BLOCK_SIZE = 64;
const MAX_ALLOWED = 32;
const MAX_BLOCK_SIZE = 65_536;
/** Smallest MTU that each family needs (RFC 791, RFC 8200). */
const MIN_MTU: Readonly<Record<Family, number>> = { 4: 576, 6: 1280 };

/** A pod network. */
export interface PodNetworkInfo extends Meta {
  /** 1 to 16,777,215. */
  vni: number;
  /** Canonical, at most one a family. */
  cidrs: readonly string[];
  mode: "Routed" | "Bridged";
  /** Addresses that a node claims at once, a power of two. */
  blockSize: number;
  /** Of the pods' interfaces, in bytes. Absent: what the underlay carries. */
  mtu?: number;
  /** Whether pods reach what is outside of the network, behind the node's address. */
  masquerade: boolean;
  /** Namespaces whose pods may attach. Absent: none; empty: all. */
  namespaceSelector?: LabelSelector;
  /** Whether peers on the same segment are reached without encapsulation. Only `off` when Bridged. */
  directRouting: "off" | "auto";
  /** It was deleted, and goes with its last pod. */
  deleting?: true;
  /** What becomes of broadcast and multicast. Only `Replicate`, which says nothing, when Routed. */
  broadcast: "Replicate" | "Drop";
  /** Prefixes that its pods may send from besides their own addresses. Only when Bridged. */
  allowedAddresses?: readonly string[];
}

/** Reads one. Keys that it does not know are no fault: a newer release may have written them. @throws ObjectError naming object and key */
export function parsePodNetwork(object: unknown): PodNetworkInfo {
  const meta = metaOf(object, "PodNetwork");
  const what = `PodNetwork ${meta.name}`;
  if (!isNetworkName(meta.name)) refuseKey(what, "metadata.name", meta.name, NETWORK_NAME_RULE);
  const spec = specOf(object, what);
  const vni = wholeOf(what, spec["vni"], "spec.vni", 1, MAX_VNI);
  const blockSize = blockSizeOf(what, spec);
  const cidrs = cidrsOf(what, spec["cidrs"], blockSize);
  const mtu = wholeOf(what, spec["mtu"], "spec.mtu", Math.max(...cidrs.map((one) => MIN_MTU[familyOf(one)])), 65_535);
  const selector = spec["namespaceSelector"];
  if (selector !== undefined && selector !== null && !isObject(selector))
    refuseKey(what, "spec.namespaceSelector", selector, "a label selector");
  const mode = wordOf(what, spec, "mode", ["Routed", "Bridged"]);
  const directRouting = wordOf(what, spec, "directRouting", ["off", "auto"]);
  if (mode === "Bridged" && directRouting !== "off")
    refuseKey(what, "spec.directRouting", directRouting, "off where mode is Bridged");
  const broadcast = wordOf(what, spec, "broadcast", ["Replicate", "Drop"]);
  if (mode === "Routed" && broadcast !== "Replicate")
    refuseKey(what, "spec.broadcast", broadcast, "left out where mode is Routed");
  const allowed = allowedOf(what, spec, MAX_ALLOWED);
  if (mode === "Routed" && allowed.allowedAddresses)
    refuseKey(what, "spec.allowedAddresses", spec["allowedAddresses"], "left out where mode is Routed");
  return {
    ...meta,
    vni: vni ?? refuseKey(what, "spec.vni", vni, `a whole number from 1 to ${MAX_VNI}`),
    cidrs,
    mode,
    blockSize,
    ...(mtu !== undefined && { mtu }),
    masquerade: masqueradeOf(what, spec, mode),
    ...(isObject(selector) && { namespaceSelector: selectorOf(what, selector) }),
    directRouting,
    broadcast,
    ...allowed,
    ...(isDeleting(object) && { deleting: true as const }),
  };
}

const isDeleting = (object: unknown): boolean =>
  typeof (object as { metadata: Json }).metadata["deletionTimestamp"] === "string";

function masqueradeOf(what: string, spec: Json, mode: string): boolean {
  const value = spec["masquerade"] ?? false;
  if (mode === "Bridged" && value === true) refuseKey(what, "spec.masquerade", value, "false where mode is Bridged");
  return typeof value === "boolean" ? value : refuseKey(what, "spec.masquerade", value, "true or false");
}

function blockSizeOf(what: string, spec: Json): number {
  const size = wholeOf(what, spec["blockSize"], "spec.blockSize", 4, MAX_BLOCK_SIZE) ?? DEFAULT_BLOCK_SIZE;
  return (size & (size - 1)) === 0 ? size : refuseKey(what, "spec.blockSize", size, "a power of two");
}

function cidrsOf(what: string, value: unknown, blockSize: number): string[] {
  const wanted = "a list of one or two CIDRs, at most one a family";
  if (!Array.isArray(value) || value.length === 0 || value.length > 2)
    return refuseKey(what, "spec.cidrs", value, wanted);
  const cidrs = (value as unknown[]).map((one, i) => cidr(what, `spec.cidrs[${i}]`, one, blockSize));
  return new Set(cidrs.map(familyOf)).size === cidrs.length ? cidrs : refuseKey(what, "spec.cidrs", value, wanted);
}

function cidr(what: string, key: string, value: unknown, blockSize: number): string {
  const canonical = parsedOf(what, key, value, "a CIDR", parseCidr);
  const family = familyOf(canonical);
  const network = networkAddress(canonical);
  if (ipScope(network) !== "unicast") refuseKey(what, key, value, `unicast addresses, not ${ipScope(network)} ones`);
  if (addressBits(family) - cidrOf(canonical).prefix < Math.log2(blockSize))
    refuseKey(what, key, value, `wide enough for a block of ${blockSize} addresses`);
  return canonical;
}
