/**
 * Blocks of a network's addresses, claimed by nodes: the object `NetworkBlock`. It is named after what it claims, so the API
 * server's own rule that a name exists once is the lock. It belongs to the Node, with which the API server's collector removes it.
 */
import { cidrContains, parseCidr, parseIp } from "../addr/index.ts";
import {
  API_VERSION,
  blockName,
  isNetworkName,
  labelsOf,
  NETWORK_NAME_RULE,
  NETWORK_UID_ANNOTATION,
  nodeOwner,
} from "./names.ts";
import { isObject, type Json, type Meta, metaOf, parsedOf, refuseKey, specOf } from "./object.ts";

/** A claimed block. */
export interface NetworkBlock extends Meta {
  network: string;
  /** Canonical. */
  cidr: string;
  /** The node whose pods it is for; "" for a block that holds addresses of claims. */
  node: string;
  /** Uid of its PodNetwork; absent in those of older agents, and of claims. */
  networkUid?: string;
  /** Claims, `<namespace>/<name>/<uid>`, by the canonical address that each holds; empty for a node's block. */
  addresses: Readonly<Record<string, string>>;
}

/** Reads one. @throws ObjectError naming object and key */
export function parseNetworkBlock(object: unknown): NetworkBlock {
  const meta = metaOf(object, "NetworkBlock");
  const what = `NetworkBlock ${meta.name}`;
  const spec = specOf(object, what);
  const { network, node = "" } = spec;
  if (typeof network !== "string" || !isNetworkName(network))
    return refuseKey(what, "spec.network", network, NETWORK_NAME_RULE);
  if (typeof node !== "string") return refuseKey(what, "spec.node", node, "a text");
  const cidr = parsedOf(what, "spec.cidr", spec["cidr"], "a CIDR", parseCidr);
  // Under another name it would be no lock on this block, and a second object of it could be made.
  if (meta.name !== blockName(network, cidr))
    refuseKey(what, "metadata.name", meta.name, `${blockName(network, cidr)}, after what it claims`);
  const networkUid = networkUidOf(object);
  const addresses = addressesOf(what, spec, cidr, node);
  return { ...meta, network, cidr, node, ...(networkUid !== undefined && { networkUid }), addresses };
}

function networkUidOf(object: unknown): string | undefined {
  const { annotations } = (object as { metadata: Json }).metadata;
  const uid = isObject(annotations) ? annotations[NETWORK_UID_ANNOTATION] : undefined;
  return typeof uid === "string" ? uid : undefined;
}

/** Whether a block is of a network that had this one's name before it. */
export const isOfPredecessor = (
  { networkUid, creationTimestamp }: Pick<NetworkBlock, "networkUid" | "creationTimestamp">,
  network: { uid: string; creationTimestamp: string },
): boolean =>
  networkUid === undefined
    ? Date.parse(creationTimestamp) < Date.parse(network.creationTimestamp)
    : networkUid !== network.uid;

function addressesOf(what: string, spec: Json, cidr: string, node: string): Record<string, string> {
  const value = spec["addresses"] ?? {};
  if (!isObject(value)) return refuseKey(what, "spec.addresses", value, "claims by address");
  const addresses: Record<string, string> = {};
  for (const [text, claim] of Object.entries(value)) {
    const key = `spec.addresses[${JSON.stringify(text)}]`;
    const ip = parsedOf(what, key, text, "an IP address", parseIp);
    if (!cidrContains(cidr, ip)) refuseKey(what, key, text, `an address in ${cidr}`);
    if (typeof claim !== "string" || !/^[^/]+\/[^/]+\/[^/]+$/.test(claim))
      return refuseKey(what, key, claim, "NAMESPACE/CLAIM/UID");
    if (addresses[ip] !== undefined)
      refuseKey(what, key, claim, `there once: ${ip} belongs to ${addresses[ip]} already`);
    addresses[ip] = claim;
  }
  if (node !== "" && Object.keys(addresses).length > 0)
    refuseKey(what, "spec.addresses", value, "empty for a node's block");
  return addresses;
}

/** Whose a block is to be: a node's, or all claims' together. */
export interface BlockOwner {
  network: string;
  networkUid?: string | undefined;
  /** Its uid is undefined while there is no such Node: the block goes with nothing then. */
  node?: { name: string; uid: string | undefined };
}

/** A block as it is created. @param addresses claims by address, for a block without a node */
export const blockObject = (
  { network, networkUid, node }: BlockOwner,
  cidr: string,
  addresses?: Readonly<Record<string, string>>,
): Json => ({
  apiVersion: API_VERSION,
  kind: "NetworkBlock",
  metadata: {
    name: blockName(network, cidr),
    labels: labelsOf(network, node?.name ?? ""),
    ...(node && networkUid !== undefined && { annotations: { [NETWORK_UID_ANNOTATION]: networkUid } }),
    ...(node && { ownerReferences: nodeOwner(node) }),
  },
  // Not "" where there is none: API servers before 1.21 take that for null, which no text may be.
  spec: { network, cidr, ...(node && { node: node.name }), ...(addresses && { addresses }) },
});
