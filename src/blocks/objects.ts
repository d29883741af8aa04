/**
 * Blocks as this folder reads and writes them in the API, and the little that it asks of a client: so that it is tested
 * against an API that loses answers on purpose, and does not care how requests are sent.
 */
import { parseCidr, printable } from "../addr/index.ts";

export const API_VERSION = "skylane.dev/v1alpha1";
export const NETWORK_LABEL = "skylane.dev/network";
export const NODE_LABEL = "skylane.dev/node";
/** How many addresses a block has: what has the same label has the same grid, and cannot overlap under another name. */
export const SIZE_LABEL = "skylane.dev/block-size";
/**
 * The resourceVersion that a block had when it was made, written with its first change. It says that the block was held
 * against all others and may be used (see acquire.ts), and keeps its place in their order.
 */
export const CREATED_ANNOTATION = "skylane.dev/created-version";

/** An object as the API has it; unknown parts are kept when it is written back. */
export interface ApiObject {
  apiVersion?: string;
  kind?: string;
  metadata: {
    name: string;
    namespace?: string;
    uid?: string;
    resourceVersion?: string;
    labels?: Record<string, string>;
    annotations?: Record<string, string>;
    ownerReferences?: { apiVersion: string; kind: string; name: string; uid: string }[];
    [key: string]: unknown;
  };
  spec?: unknown;
  status?: unknown;
}

/** One cluster-scoped resource of the API. All methods throw ApiError; status 0, 408 and 5xx: whether it was done is unknown. */
export interface BlockObjects {
  create(object: ApiObject): Promise<ApiObject>;
  /** As it is now, never from a cache; `undefined` when there is none. */
  get(name: string): Promise<ApiObject | undefined>;
  /** Writes an object that nobody has changed since its resourceVersion (409 otherwise). */
  replace(object: ApiObject): Promise<ApiObject>;
  /** Deletes the very object with that uid; 409 when another has its name now, 404 when none. */
  delete(name: string, uid: string): Promise<void>;
  /** All that match, as they are now. */
  list(labelSelector: string): Promise<ApiObject[]>;
}

/** A block that exists. */
export interface Block {
  name: string;
  uid: string;
  network: string;
  cidr: string;
  /** The node whose pods have addresses of it; "" for claims. */
  node: string;
  /** Claims' addresses: "<namespace>/<claim>" by address. */
  addresses: Readonly<Record<string, string>>;
  /** Its place in the order of creation. */
  created: string;
  /** Whether {@link CREATED_ANNOTATION} is there. */
  settled: boolean;
  object: ApiObject;
}

/** Reads a block. @throws TypeError naming block and key */
export function readBlock(object: ApiObject): Block {
  const { name, uid, resourceVersion, annotations } = object.metadata;
  const wrong = (what: string): TypeError => new TypeError(`NetworkBlock ${printable(name)}: ${what}`);
  const spec = object.spec as Record<string, unknown> | null | undefined;
  const text = (key: string): string => {
    const value = spec?.[key];
    if (typeof value !== "string") throw wrong(`spec.${key} is no text`);
    return value;
  };
  if (typeof uid !== "string" || typeof resourceVersion !== "string") throw wrong("metadata without uid or version");
  let cidr: string;
  try {
    cidr = parseCidr(text("cidr"));
  } catch (error) {
    if (error instanceof RangeError) throw wrong(`spec.cidr: ${error.message}`);
    throw error;
  }
  const addresses: unknown = spec?.["addresses"] ?? {};
  if (typeof addresses !== "object" || addresses === null || Array.isArray(addresses))
    throw wrong("spec.addresses is no map");
  for (const holder of Object.values(addresses))
    if (typeof holder !== "string") throw wrong("spec.addresses: a holder is no text");
  const created = annotations?.[CREATED_ANNOTATION];
  return {
    name,
    uid,
    network: text("network"),
    cidr,
    node: text("node"),
    addresses: addresses as Record<string, string>,
    created: created ?? resourceVersion,
    settled: created !== undefined,
    object,
  };
}

/**
 * Compares blocks by the order in which the API server's store took them, oldest first. resourceVersions are compared as
 * numbers (KEP-5504; true of every etcd-backed server): creationTimestamp has whole seconds of several servers' clocks.
 */
export function byCreation(a: Block, b: Block): number {
  return a.created.length - b.created.length || compare(a.created, b.created) || compare(a.name, b.name);
}

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** The name of a block's object: the lock on its addresses. */
export const blockName = (network: string, cidr: string): string => `${network}.${cidr.replaceAll(/[.:/]/g, "-")}`;

/** Who wants a block: a node, or (`node` "") the claims of the whole network. */
export interface Claimant {
  network: string;
  node: string;
  /** The Node's uid: with the Node goes the block. */
  nodeUid?: string;
}

/** The object of a new block. */
export function newBlock({ network, node, nodeUid }: Claimant, cidr: string, size: number): ApiObject {
  return {
    apiVersion: API_VERSION,
    kind: "NetworkBlock",
    metadata: {
      name: blockName(network, cidr),
      labels: { [NETWORK_LABEL]: network, [SIZE_LABEL]: String(size), ...(node !== "" && { [NODE_LABEL]: node }) },
      ...(nodeUid !== undefined && { ownerReferences: [ownerOf(node, nodeUid)] }),
    },
    spec: { network, cidr, node, ...(node === "" && { addresses: {} }) },
  };
}

export const ownerOf = (name: string, uid: string) => ({ apiVersion: "v1", kind: "Node", name, uid });

/** The object with its place in the order of creation written down, for its next change. */
export function keepingOrder({ object, created }: Block): ApiObject {
  const annotations = { ...object.metadata.annotations, [CREATED_ANNOTATION]: created };
  return { ...object, metadata: { ...object.metadata, annotations } };
}
