/**
 * What of a network is on a node and its blocks do not tell: the object `NetworkEndpoints`. Peers make forwarding entries and
 * routes of it, so one entry that makes no sense must not pass.
 */
import { ipsOf } from "./ip-claim.ts";
import { API_VERSION, endpointsName, isNetworkName, labelsOf, NETWORK_NAME_RULE, nodeOwner } from "./names.ts";
import { listOf, type Meta, metaOf, parsedOf, refuseKey, specOf, textOf, wholeOf } from "./object.ts";
import { parsePodMac } from "./selection/pod-mac.ts";
import { isObject, type Json } from "../json/index.ts";

/** One interface of a pod. */
export interface Endpoint {
  /** Canonical, at most one a family. */
  ips: readonly string[];
  mac: string;
  /** How often it has moved: of two nodes that name one MAC or IP address, the higher number has it. */
  moves: number;
}

/** All of a network's on one node. */
export interface NetworkEndpoints extends Meta {
  network: string;
  node: string;
  endpoints: readonly Endpoint[];
}

/** Highest number of moves: it has to survive JSON, and nobody may write one above which there is none. */
const MAX_MOVES = Number.MAX_SAFE_INTEGER - 1;

/** Endpoints of one node in one network: ten times the pods that a large node has. What is longer costs all others memory and time. */
const MAX_ENDPOINTS = 4_096;

/** Reads one. @throws ObjectError naming object and key */
export function parseNetworkEndpoints(object: unknown): NetworkEndpoints {
  const meta = metaOf(object, "NetworkEndpoints");
  const what = `NetworkEndpoints ${meta.name}`;
  const spec = specOf(object, what);
  const { network } = spec;
  if (typeof network !== "string" || !isNetworkName(network))
    return refuseKey(what, "spec.network", network, NETWORK_NAME_RULE);
  const node = textOf(what, spec, "spec", "node");
  if (meta.name !== endpointsName(network, node))
    refuseKey(what, "metadata.name", meta.name, `${endpointsName(network, node)}, after network and node`);
  const list = listOf(what, spec, "spec", "endpoints");
  if (list.length > MAX_ENDPOINTS)
    refuseKey(what, "spec.endpoints", `${list.length} endpoints`, `a list of at most ${MAX_ENDPOINTS}`);
  const endpoints = list.map((one, i) => endpoint(what, `spec.endpoints[${i}]`, one));
  return { ...meta, network, node, endpoints };
}

function endpoint(what: string, key: string, value: unknown): Endpoint {
  if (!isObject(value)) return refuseKey(what, key, value, "an endpoint");
  return {
    ips: ipsOf(what, value, key),
    mac: parsedOf(what, `${key}.mac`, value["mac"], "a MAC address", parsePodMac),
    moves: wholeOf(what, value["moves"], `${key}.moves`, 0, MAX_MOVES) ?? 0,
  };
}

/** The object as it is written. */
export const endpointsObject = (
  network: string,
  node: { name: string; uid: string | undefined },
  endpoints: readonly Endpoint[],
): Json => ({
  apiVersion: API_VERSION,
  kind: "NetworkEndpoints",
  metadata: {
    name: endpointsName(network, node.name),
    labels: labelsOf(network, node.name),
    ownerReferences: nodeOwner(node),
  },
  spec: { network, node: node.name, endpoints },
});
