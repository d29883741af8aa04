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
  PODS_ANNOTATION,
} from "./names.ts";
import { type Meta, metaOf, parsedOf, refuseKey, specOf } from "./object.ts";
import { isObject, type Json } from "../json/index.ts";

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
  /** Pods, NAMESPACE/NAME, by the canonical address that its node says each has; absent where it says nothing. */
  pods?: Readonly<Record<string, string>>;
}

/** Reads one. @throws ObjectError naming object and key */
export const parseNetworkBlock = (object: unknown): NetworkBlock => parseBlock(object, addressesOf);

/**
 * Reads one as it counts: every agent may write entries of claims' blocks, and one that makes no sense must not take the others along. It is as
 * if it were not there, and goes with the next entry that is written. @throws ObjectError naming object and key
 */
export const readNetworkBlock = (object: unknown): NetworkBlock => parseBlock(object, sensibleAddresses);

function parseBlock(object: unknown, read: typeof addressesOf): NetworkBlock {
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
  const addresses = read(what, spec, cidr, node);
  const pods = node === "" ? undefined : podsOf(annotationOf(object, PODS_ANNOTATION), cidr);
  return {
    ...meta,
    network,
    cidr,
    node,
    ...(networkUid !== undefined && { networkUid }),
    addresses,
    ...(pods && { pods }),
  };
}

function annotationOf(object: unknown, key: string): string | undefined {
  const { annotations } = (object as { metadata: Json }).metadata;
  const value = isObject(annotations) ? annotations[key] : undefined;
  return typeof value === "string" ? value : undefined;
}

const networkUidOf = (object: unknown): string | undefined => annotationOf(object, NETWORK_UID_ANNOTATION);

/** NAMESPACE/NAME of a pod (RFC 1123 label and subdomain). */
export const POD_KEY = /^[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?\/[a-z0-9](?:[-a-z0-9.]{0,251}[a-z0-9])?$/;

/** What makes sense of what a node says; the rest, an address outside of the block for one, is as if it were not said. */
function podsOf(text: string | undefined, cidr: string): Record<string, string> | undefined {
  if (text === undefined) return undefined;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // a node that says nothing: its pods are nobody's peers
  }
  if (!isObject(value)) return undefined;
  const entries = Object.entries(value).filter(
    (entry): entry is [string, string] =>
      typeof entry[1] === "string" && POD_KEY.test(entry[1]) && isCanonicalIn(cidr, entry[0]),
  );
  return entries.length === 0 ? undefined : Object.fromEntries(entries);
}

const isCanonicalIn = (cidr: string, text: string): boolean =>
  text.length <= MAX_IP && ipOf(text) === text && cidrContains(cidr, text);

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
    if (!isHolder(claim)) return refuseKey(what, key, claim, "NAMESPACE/CLAIM/UID");
    if (addresses[ip] !== undefined)
      refuseKey(what, key, claim, `there once: ${ip} belongs to ${addresses[ip]} already`);
    addresses[ip] = claim;
  }
  if (node !== "" && Object.keys(addresses).length > 0)
    refuseKey(what, "spec.addresses", value, "empty for a node's block");
  return addresses;
}

/** A claim as entries name it; no name is longer (RFC 1123), and a uid is 36 characters. */
const isHolder = (value: unknown): value is string =>
  typeof value === "string" && value.length <= MAX_HOLDER && /^[^/]+\/[^/]+\/[^/]+$/.test(value);
const MAX_HOLDER = 400;
/** The longest text of an IPv6 address. */
const MAX_IP = 45;

/** Those that make sense. Of two for one address that in its canonical form counts: it is what an agent writes. */
function sensibleAddresses(
  _what: string,
  { addresses: value }: Json,
  cidr: string,
  node: string,
): Record<string, string> {
  const addresses: Record<string, string> = {};
  if (node !== "" || !isObject(value)) return addresses;
  for (const [text, claim] of Object.entries(value)) {
    if (text.length > MAX_IP || !isHolder(claim)) continue;
    const ip = ipOf(text);
    if (ip !== undefined && cidrContains(cidr, ip) && (text === ip || !Object.hasOwn(value, ip))) addresses[ip] = claim;
  }
  return addresses;
}

function ipOf(text: string): string | undefined {
  try {
    return parseIp(text);
  } catch (error) {
    if (error instanceof RangeError) return undefined;
    throw error;
  }
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
