/**
 * A set of prefixes that answers "does this one share an address with any of them?" in a time that depends on the
 * prefix's length alone. Prefixes either nest or are disjoint, so a binary tree over their bits has the whole
 * answer on one path: an owner above means that we lie inside it, anything below that it lies inside us.
 */
import { cidrOf, type Family, ipToBytes, networkAddress } from "../addr/index.ts";

interface Branch {
  owner?: string;
  0?: Branch;
  1?: Branch;
}

/** Prefixes of both families, each with the name of its owner. */
export class PrefixTree {
  readonly #roots: Record<Family, Branch> = { 4: {}, 6: {} };

  /** Adds a prefix that overlaps none of those already there. */
  add(cidr: string, owner: string): void {
    const { bytes, prefix, family } = bitsOf(cidr);
    let at = this.#roots[family];
    for (let i = 0; i < prefix; i++) at = at[bit(bytes, i)] ??= {};
    at.owner = owner;
  }

  /** The owner of a prefix that overlaps this one; undefined when there is none. */
  overlapping(cidr: string): string | undefined {
    const { bytes, prefix, family } = bitsOf(cidr);
    let at: Branch | undefined = this.#roots[family];
    for (let i = 0; i < prefix && at; i++) {
      if (at.owner !== undefined) return at.owner;
      at = at[bit(bytes, i)];
    }
    // Every branch ends in an owner, so following any of them finds one.
    while (at && at.owner === undefined) at = at[0] ?? at[1];
    return at?.owner;
  }
}

const bit = (bytes: Uint8Array, i: number): 0 | 1 => ((((bytes[i >> 3] as number) >> (7 - (i & 7))) & 1) === 1 ? 1 : 0);

interface Bits {
  bytes: Uint8Array;
  prefix: number;
  family: Family;
}

const remembered = new Map<string, Bits>();
const REMEMBERED = 32_768;

/** The bits of a canonical prefix; remembered, since every look at the cluster asks for the same ones. */
function bitsOf(cidr: string): Bits {
  let bits = remembered.get(cidr);
  if (!bits) {
    const { family, prefix } = cidrOf(cidr);
    bits = { bytes: ipToBytes(networkAddress(cidr)), prefix, family };
    if (remembered.size >= REMEMBERED) remembered.clear();
    remembered.set(cidr, bits);
  }
  return bits;
}
