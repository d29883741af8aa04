/**
 * Blocks as this folder reads and writes them in the API, and the little that it asks of a client: so that it is tested
 * against an API that loses answers on purpose, and does not care how requests are sent.
 */
import { blockObject, type NetworkBlock, ObjectError, readNetworkBlock } from "../../crd/index.ts";

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
  /**
   * Deletes the very object with that uid, where a resourceVersion is given only as it was read; 409 when another has its name
   * now or it has been changed, 404 when there is none.
   */
  delete(name: string, uid: string, resourceVersion?: string): Promise<void>;
  /** All that match, as they are now. */
  list(labelSelector: string): Promise<ApiObject[]>;
}

/** A block as a reflector shows it, which may be behind. */
export type SeenBlock = Pick<
  NetworkBlock,
  "name" | "uid" | "network" | "networkUid" | "creationTimestamp" | "cidr" | "node"
>;

/** A block as it was read from the API. */
export interface Block extends NetworkBlock {
  /** Its place in the order of creation. */
  created: string;
  /** Whether {@link CREATED_ANNOTATION} is there. */
  settled: boolean;
  object: ApiObject;
}

/** Reads a block. @throws ObjectError naming block and key */
export function readBlock(object: ApiObject): Block {
  const block = readNetworkBlock(object);
  const created = createdOf(object.metadata.annotations?.[CREATED_ANNOTATION]);
  return { ...block, created: created ?? block.resourceVersion, settled: created !== undefined, object };
}

/**
 * Those of a list that are blocks. What is none holds nothing (nobody claims by it), and must not keep all nodes from
 * claiming; the reflector, which reads the same objects, is where it is reported.
 */
export function readBlocks(objects: readonly ApiObject[]): Block[] {
  return objects.flatMap((object) => {
    try {
      return readBlock(object);
    } catch (error) {
      if (error instanceof ObjectError) return [];
      throw error;
    }
  });
}

/** A place in the order as it was written down; undefined where it says none. */
export const createdOf = (text: unknown): string | undefined =>
  typeof text === "string" && /^[1-9]\d{0,19}$/.test(text) ? text : undefined;

/** Clocks of API servers never differ by so much, in milliseconds. */
const APART_MS = 300_000;

/**
 * Compares blocks by the order in which the API server's store took them, oldest first. resourceVersions are compared as
 * numbers (KEP-5504; true of every etcd-backed server): creationTimestamp has whole seconds of several servers' clocks. Whoever may write a block
 * may write a wrong place into it, but not when the object was made: where those times are far apart, they tell.
 */
export function byCreation(a: Placed, b: Placed): number {
  const apart = Date.parse(a.creationTimestamp) - Date.parse(b.creationTimestamp);
  if (Math.abs(apart) > APART_MS) return apart;
  return a.created.length - b.created.length || compare(a.created, b.created) || compare(a.name, b.name);
}

/** A block with its place in the order of creation. */
type Placed = Pick<Block, "created" | "name" | "creationTimestamp">;

const compare = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);

/** Who wants a block: a node, or (`node` "") the claims of the whole network. */
export interface Claimant {
  network: string;
  node: string;
  /** Of the PodNetwork. */
  networkUid?: string | undefined;
  /** The Node's uid, for a node: with the Node goes the block. Absent while there is no Node. */
  nodeUid?: string | undefined;
}

/** The object of a new block. */
export function newBlock({ network, networkUid, node, nodeUid }: Claimant, cidr: string, size: number): ApiObject {
  const owner = node === "" ? { network } : { network, networkUid, node: { name: node, uid: nodeUid } };
  const object = blockObject(owner, cidr) as unknown as ApiObject;
  const labels = { ...object.metadata.labels, [SIZE_LABEL]: String(size) };
  return { ...object, metadata: { ...object.metadata, labels } };
}

export const ownerOf = (name: string, uid: string) => ({ apiVersion: "v1", kind: "Node", name, uid });

/** The object with its place in the order of creation written down, for its next change. */
export function keepingOrder({ object, created }: Block): ApiObject {
  const annotations = { ...object.metadata.annotations, [CREATED_ANNOTATION]: created };
  return { ...object, metadata: { ...object.metadata, annotations } };
}
