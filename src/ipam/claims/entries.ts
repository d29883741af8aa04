/**
 * Entries of claims' blocks, address (macs.ts for MAC addresses) → NAMESPACE/NAME/UID: read as they are now, written over what
 * was read, freed after their claims.
 */
import { cidrContains } from "../../addr/index.ts";
import { type Block, type BlockObjects, calling, keepingOrder, readBlocks, unavailable } from "../blocks/index.ts";
import { podSpan } from "../local/index.ts";
import { ApiError } from "../../kube/index.ts";
import { NETWORK_LABEL, NODE_LABEL } from "../../crd/index.ts";
import { addressOf, entryOfMac, readable } from "./macs.ts";
import { type ClaimObjects, holderOf, holderText, stillHolds } from "./objects.ts";

/** Blocks that are no node's have this selector. */
export const WITHOUT_NODE = `!${NODE_LABEL}`;

/** The claims' blocks of a network as they are now, the lowest first. @throws BlockError `unavailable` */
export async function claimBlocks(objects: BlockObjects, network: string): Promise<Block[]> {
  const found = await calling(`cannot see the claims' blocks of network ${network}`, () =>
    objects.list(`${NETWORK_LABEL}=${network},${WITHOUT_NODE}`),
  );
  return readBlocks(found)
    .filter(({ node }) => node === "")
    .sort((a, b) => (firstOf(a) < firstOf(b) ? -1 : 1));
}

const firstOf = ({ cidr }: Block): bigint => podSpan(cidr).first;

/** NAMESPACE/NAME of an entry. */
export function named(entry: string): string {
  const { namespace, name } = holderOf(entry);
  return `${namespace}/${name}`;
}

/**
 * Entries that a block has when it has all: those of the claims whose status names an address of it. So one that somebody deleted
 * comes back whole, whoever's claim is the first to need it.
 * @param objects the claims of all networks as they are now. @param last wins where two name one address
 */
export function entriesByStatus(
  objects: readonly unknown[],
  { network, cidr }: Pick<Block, "network" | "cidr">,
  last: string,
): Record<string, string> {
  const entries: Record<string, string> = {};
  for (const claim of objects.flatMap(readable)) {
    if (claim.network !== network) continue;
    const holder = holderText(claim);
    const { ips, mac } = claim.status;
    // A MAC address that was not asked for has no entry.
    for (const key of [...ips, ...(mac !== undefined && mac === claim.mac ? [entryOfMac(mac)] : [])])
      if (cidrContains(cidr, key) && (entries[key] === undefined || holder === last)) entries[key] = holder;
  }
  return entries;
}

/**
 * Writes entries over the version that was read; whether they are written: it was changed or is gone otherwise.
 * @throws BlockError `unavailable`
 */
export async function writeEntries(
  objects: BlockObjects,
  block: Block,
  addresses: Readonly<Record<string, string>>,
): Promise<boolean> {
  const object = keepingOrder(block);
  try {
    await objects.replace({ ...object, spec: { ...(object.spec as object), addresses } });
    return true;
  } catch (error) {
    if (!(error instanceof ApiError)) throw error;
    if (error.status === 409 || error.status === 404) return false;
    throw unavailable(`cannot write block ${block.cidr} of network ${block.network}`, error);
  }
}

/** What is asked before an entry is removed. */
export interface Freeing {
  network: string;
  blocks: BlockObjects;
  claims: Pick<ClaimObjects, "list">;
  /**
   * Whether an endpoint of the network has an IP or MAC address that a claim (NAMESPACE/NAME/UID) had: it may be deleted under its pod. Asked
   * for after the claims were read, and only when some are gone. Rejects with ApiError.
   */
  inUse: () => Promise<(address: string, holder: string) => boolean | Promise<boolean>>;
}

/**
 * Removes entries of claims that are gone.
 * @param blocks as they were read before this call
 * @returns the freed IP and MAC addresses. @throws BlockError `unavailable`
 */
export async function freeEntries(
  from: readonly Block[],
  { network, blocks, claims, inUse }: Freeing,
): Promise<string[]> {
  if (from.every(({ addresses }) => Object.keys(addresses).length === 0)) return [];
  const objects = await calling(`cannot see which addresses of network ${network} are claimed`, () => claims.list());
  const byName = new Map(
    (objects as { metadata: { namespace: string; name: string } }[]).map((one) => [
      `${one.metadata.namespace}/${one.metadata.name}`,
      one,
    ]),
  );
  const isHeld = ([ip, entry]: [string, string]): boolean =>
    stillHolds(byName.get(named(entry)), holderOf(entry).uid, ip);
  const some = from.filter(({ addresses }) => !Object.entries(addresses).every(isHeld));
  if (some.length === 0) return [];
  const isUsed = await calling(`cannot see which addresses of network ${network} are in use`, inUse);
  const freed: string[] = [];
  for (const block of some) {
    const entries = Object.entries(block.addresses);
    const kept: typeof entries = [];
    for (const one of entries) {
      const [address, holder] = [addressOf(one[0]), one[1]];
      const doing = `cannot see whether ${address} of network ${network} is in use`;
      if (isHeld(one) || (await calling(doing, async () => isUsed(address, holder)))) kept.push(one);
    }
    if (kept.length === entries.length || !(await writeEntries(blocks, block, Object.fromEntries(kept)))) continue;
    freed.push(...entries.filter((one) => !kept.includes(one)).map(([key]) => addressOf(key)));
  }
  return freed;
}
