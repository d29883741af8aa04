/**
 * How full blocks are, so that their owner knows when to get the next one and which ones it can give back. Pure counting
 * over the names that stand on disk.
 */
import { cidrOf, familyOf, ipToBigInt, parseCidr } from "../../addr/index.ts";
import { IpamInvalid } from "./errors.ts";
import { podSpan, poolSize } from "./pool.ts";
import { isAddress } from "./store.ts";
import type { BlockUsage } from "./types.ts";

/**
 * Counts the taken names by block. Addresses that pods never get (excluded ones too) count for neither number, so that a
 * block is full if `used` equals `total`; a name that should not be taken at all still counts as used.
 * @throws IpamInvalid naming what is no block
 */
export function usageOf(blocks: readonly string[], names: readonly string[], exclude: readonly string[]): BlockUsage[] {
  const counted = blocks.map((text) => {
    const block = canonical(text);
    const { family } = cidrOf(block);
    const pool = { family, label: block, spans: [podSpan(block)], excluded: new Set(exclude) };
    return { block, span: cidrOf(block), total: poolSize(pool), used: 0 };
  });
  for (const name of names) {
    if (!isAddress(name)) continue;
    const family = familyOf(name);
    const value = ipToBigInt(name);
    for (const one of counted) {
      if (one.span.family === family && one.span.first <= value && value <= one.span.last) one.used++;
    }
  }
  return counted.map(({ block, used, total }) => ({ block, used, total }));
}

function canonical(text: string): string {
  try {
    return parseCidr(text);
  } catch (error) {
    if (error instanceof RangeError) throw new IpamInvalid(`block: ${error.message}`, { cause: error });
    throw error;
  }
}
