/**
 * What objects of pod networks are called, and where they are. A name is part of the protocol between nodes: that the API
 * server has one object of a name is what keeps two nodes from claiming one block.
 */
import { sha256Hex } from "../addr/index.ts";

/** Group and version of Skylane's own objects. */
export const API_VERSION = "skylane.dev/v1alpha1";
const BASE_PATH = `/apis/${API_VERSION}`;

/** Collections of the objects that are in no namespace. */
export const POD_NETWORKS = `${BASE_PATH}/podnetworks`;
export const NETWORK_BLOCKS = `${BASE_PATH}/networkblocks`;
export const EGRESS_GATEWAYS = `${BASE_PATH}/egressgateways`;
export const NETWORK_ENDPOINTS = `${BASE_PATH}/networkendpoints`;
/** The claims of all namespaces. */
export const IP_CLAIMS = `${BASE_PATH}/ipclaims`;
/** The claims of one namespace. */
export const ipClaimsOf = (namespace: string): string =>
  `${BASE_PATH}/namespaces/${encodeURIComponent(namespace)}/ipclaims`;

/** On a node's block: uid of the PodNetwork that it is of, which tells that from one that is made anew by the same name. */
export const NETWORK_UID_ANNOTATION = "skylane.dev/network-uid";

/**
 * On a node's block: which pods have which of its addresses, as JSON, {"IP": "NAMESPACE/NAME"}. It is there as long as other nodes have to know: while
 * a MultiNetworkPolicy names the network.
 */
export const PODS_ANNOTATION = "skylane.dev/pods";

/** Labels of objects that concern one network, or one node. */
export const NETWORK_LABEL = "skylane.dev/network";
export const NODE_LABEL = "skylane.dev/node";

/** The network that every pod is in; its object only shows it. */
export const DEFAULT_NETWORK = "default";

/** `sky-<name>` is a network namespace, and the name begins other objects' names. */
const NETWORK_NAME = /^[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?$/;
export const NETWORK_NAME_RULE = 'up to 40 of a–z, 0–9 and "-", with a letter or digit at both ends';
export const isNetworkName = (text: string): boolean => NETWORK_NAME.test(text);

/** Longest name of an object (RFC 1123 subdomain) and longest value of a label, in characters. */
const MAX_NAME = 253;
const MAX_LABEL = 63;

/**
 * Name of the NetworkBlock of a CIDR: two canonical CIDRs never have one name, since "::" stays two characters.
 * @param cidr canonical
 */
export const blockName = (network: string, cidr: string): string => `${network}.${cidr.replace(/[.:/]/g, "-")}`;

/** Name of the NetworkEndpoints of a network on a node. */
export const endpointsName = (network: string, node: string): string =>
  `${network}.${shortened(node, MAX_NAME - network.length - 1)}`;

/** Labels of an object that belongs to a network on a node; the object's spec has the node's whole name. */
export const labelsOf = (network: string, node: string): Record<string, string> => ({
  [NETWORK_LABEL]: network,
  ...(node !== "" && { [NODE_LABEL]: nodeLabel(node) }),
});

/** The owner of an object that goes with a Node; none while there is no such Node: it would be collected at once. */
export const nodeOwner = ({ name, uid }: { name: string; uid: string | undefined }): object[] =>
  uid === undefined ? [] : [{ apiVersion: "v1", kind: "Node", name, uid }];

/** A node's name as the value of a label: names may be longer than values of labels. */
export const nodeLabel = (node: string): string => shortened(node, MAX_LABEL);

/** A name that is too long is cut, and a hash of the whole keeps it apart from others that begin alike. */
function shortened(name: string, max: number): string {
  if (name.length <= max) return name;
  const hash = sha256Hex(name).slice(0, 16);
  return `${name.slice(0, max - hash.length - 1).replace(/[.-]+$/, "")}-${hash}`;
}
