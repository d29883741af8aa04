/** Pods that leave the cluster through chosen nodes with chosen addresses: the object `EgressGateway`. */
import { ipScope, parseCidr, parseIp } from "../addr/index.ts";
import { isObject, type Json } from "../json/index.ts";
import { type LabelSelector, selectorOf } from "./label-selector.ts";
import { DEFAULT_NETWORK, isNetworkName } from "./names.ts";
import { listOf, type Meta, metaOf, parsedOf, refuseKey, specOf } from "./object.ts";

const MAX_ADDRESSES = 16;
const MAX_DESTINATIONS = 32;
/** Name of a Node (RFC 1123 subdomain). */
const NODE_NAME = /^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$/;

/** An egress gateway as its author has it. */
export interface EgressGatewayInfo extends Meta {
  /** Name of the PodNetwork whose packets these are; absent: those of the default network. */
  network?: string;
  /** Absent: all pods of the selected namespaces. */
  podSelector?: LabelSelector;
  /** Absent: all namespaces. At least one of the two is there. */
  namespaceSelector?: LabelSelector;
  nodeSelector: LabelSelector;
  /** Canonical, each once, in the author's order. */
  addresses: readonly string[];
  /** Canonical; absent: all that is outside of the cluster. */
  destinations?: readonly string[];
}

/** Who has an address, as the status says it. */
export interface AddressHolder {
  /** Canonical. */
  address: string;
  /** Name of the Node. */
  node: string;
  /** Grows with each change of the node. */
  generation: number;
}

/** Reads one. Keys that it does not know are no fault. @throws ObjectError naming object and key */
export function parseEgressGateway(object: unknown): EgressGatewayInfo {
  const meta = metaOf(object, "EgressGateway");
  const what = `EgressGateway ${meta.name}`;
  const spec = specOf(object, what);
  const podSelector = selectorIn(what, spec, "podSelector");
  const namespaceSelector = selectorIn(what, spec, "namespaceSelector");
  if (!podSelector && !namespaceSelector)
    refuseKey(what, "spec.podSelector", undefined, "there, or spec.namespaceSelector; an empty one selects all");
  const nodeSelector = selectorIn(what, spec, "nodeSelector");
  const destinations = destinationsOf(what, spec);
  const network = networkOf(what, spec);
  return {
    ...meta,
    ...(network !== undefined && { network }),
    ...(podSelector && { podSelector }),
    ...(namespaceSelector && { namespaceSelector }),
    nodeSelector: nodeSelector ?? refuseKey(what, "spec.nodeSelector", spec["nodeSelector"], "a label selector"),
    addresses: addressesOf(what, spec),
    ...(destinations.length > 0 && { destinations }),
  };
}

/**
 * Who has which address by an object's status. Agents write it: what makes no sense there is as if it were not there, and of two
 * that say they have an address nobody has it.
 */
export function holdersOf(object: unknown): AddressHolder[] {
  const status = isObject(object) ? object["status"] : undefined;
  const list = isObject(status) && Array.isArray(status["addresses"]) ? (status["addresses"] as unknown[]) : [];
  const holders = list.flatMap((one): AddressHolder[] => {
    if (!isObject(one)) return [];
    const { address, node, generation } = one;
    if (typeof address !== "string" || typeof node !== "string" || !NODE_NAME.test(node)) return [];
    if (typeof generation !== "number" || !Number.isSafeInteger(generation) || generation < 0) return [];
    const ip = canonical(address);
    return ip === undefined ? [] : [{ address: ip, node, generation }];
  });
  const counts = Map.groupBy(holders, ({ address }) => address);
  return holders.filter(({ address }) => counts.get(address)?.length === 1);
}

function canonical(text: string): string | undefined {
  try {
    return parseIp(text);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
}

function selectorIn(what: string, spec: Json, key: string): LabelSelector | undefined {
  const value = spec[key];
  if (value === undefined || value === null) return undefined;
  const path = `spec.${key}`;
  return isObject(value) ? selectorOf(what, value, path) : refuseKey(what, path, value, "a label selector");
}

/** @throws ObjectError */
function networkOf(what: string, spec: Json): string | undefined {
  const network = spec["network"];
  if (network === undefined || network === null) return undefined;
  if (typeof network === "string" && network !== DEFAULT_NETWORK && isNetworkName(network)) return network;
  return refuseKey(what, "spec.network", network, "the name of a PodNetwork beside the default one, or absent");
}

function addressesOf(what: string, spec: Json): string[] {
  const key = "spec.egressAddresses";
  const list = listOf(what, spec, "spec", "egressAddresses");
  if (list.length === 0 || list.length > MAX_ADDRESSES)
    refuseKey(what, key, spec["egressAddresses"], `a list of 1 to ${MAX_ADDRESSES} addresses`);
  const addresses = list.map((one, i) => {
    const ip = parsedOf(what, `${key}[${i}]`, one, "an IP address", parseIp);
    return ipScope(ip) === "unicast" ? ip : refuseKey(what, `${key}[${i}]`, one, "a unicast address");
  });
  const again = addresses.find((ip, i) => addresses.indexOf(ip) !== i);
  return again === undefined ? addresses : refuseKey(what, key, again, "there once");
}

function destinationsOf(what: string, spec: Json): string[] {
  const key = "spec.destinationCIDRs";
  const list = listOf(what, spec, "spec", "destinationCIDRs");
  if (list.length > MAX_DESTINATIONS)
    refuseKey(what, key, `${list.length} CIDRs`, `a list of at most ${MAX_DESTINATIONS}`);
  return [...new Set(list.map((one, i) => parsedOf(what, `${key}[${i}]`, one, "a CIDR", parseCidr)))];
}
