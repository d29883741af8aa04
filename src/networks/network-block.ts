/**
 * Blocks of a network's addresses, claimed by nodes: the object `NetworkBlock`. It is named after what it claims, so the API
 * server's own rule that a name exists once is the lock. It belongs to the Node, with which the API server's collector removes it.
 */
import { addressBits, bigIntToIp, cidrOf, familyOf, parseCidr } from "../addr/index.ts";
import { API_VERSION, BASE_PATH, metaOf, refuseKey, specOf } from "./object.ts";

/** Where the objects are. */
export const NETWORK_BLOCKS = `${BASE_PATH}/networkblocks`;
/** Labels of objects that concern one network, or one node. */
export const NETWORK_LABEL = "skylane.dev/network";
export const NODE_LABEL = "skylane.dev/node";

/** A claimed block. */
export interface NetworkBlock {
  name: string;
  uid: string;
  resourceVersion: string;
  creationTimestamp: string;
  network: string;
  /** Canonical. */
  cidr: string;
  node: string;
}

/** The object's name: network and CIDR, in the letters that names may have. */
export const blockName = (network: string, cidr: string): string =>
  `${network}.${cidr
    .replace("::", ":0:")
    .replace(/[:/]/g, "-")
    .replace(/^-+|-+$/g, "")
    .replace(/-+/g, "-")}`;

/** Reads one. @throws ObjectError naming object and key */
export function parseBlock(object: unknown): NetworkBlock {
  const { name, uid, resourceVersion, creationTimestamp } = metaOf(object, "NetworkBlock");
  const what = `NetworkBlock ${name}`;
  const { network, cidr, node } = specOf(object, what);
  if (typeof network !== "string") return refuseKey(what, "spec.network", network, "a text");
  if (typeof node !== "string") return refuseKey(what, "spec.node", node, "a text");
  if (typeof cidr !== "string") return refuseKey(what, "spec.cidr", cidr, "a CIDR");
  let canonical: string;
  try {
    canonical = parseCidr(cidr);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    return refuseKey(what, "spec.cidr", cidr, "a CIDR");
  }
  return { name, uid, resourceVersion, creationTimestamp, network, cidr: canonical, node };
}

/** Whose node a block is to be. */
export interface BlockOwner {
  network: string;
  node: { name: string; uid: string };
}

/** A block as it is created. */
export const blockObject = ({ network, node }: BlockOwner, cidr: string): object => ({
  apiVersion: API_VERSION,
  kind: "NetworkBlock",
  metadata: {
    name: blockName(network, cidr),
    labels: { [NETWORK_LABEL]: network, [NODE_LABEL]: node.name },
    ownerReferences: [{ apiVersion: "v1", kind: "Node", name: node.name, uid: node.uid }],
  },
  spec: { network, cidr, node: node.name },
});

/**
 * The free blocks of a CIDR in the order in which a node tries them: it begins at a place of its own, so that nodes that claim
 * at the same moment seldom meet. However wide the CIDR, no more candidates are looked at than there are claims.
 * @param size addresses a block, a power of two; @param taken CIDRs that are claimed, of whatever size
 */
export function* freeBlocks(cidr: string, size: number, taken: readonly string[], start: number): Generator<string> {
  const family = familyOf(cidr);
  const { first, last } = cidrOf(cidr);
  const span = BigInt(size);
  const prefix = addressBits(family) - Math.log2(size);
  const count = (last - first + 1n) / span;
  const claimed = taken.filter((one) => familyOf(one) === family).map(cidrOf);
  const offset = BigInt(start) % count;
  for (let i = 0n; i < count; i++) {
    const from = first + ((offset + i) % count) * span;
    const to = from + span - 1n;
    if (claimed.some((one) => one.first <= to && from <= one.last)) continue;
    yield `${bigIntToIp(from, family)}/${prefix}`;
  }
}
