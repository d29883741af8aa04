/**
 * Prefixes put together: thousands of nodes' pod CIDRs, given out one after the other, are a handful of prefixes
 * when neighbours are merged. Rules made of them are as short as if the operator had named the cluster's CIDR.
 */
import { bigIntToIp, type Cidr, cidrOf } from "../addr/index.ts";

/** The fewest prefixes that cover exactly the same addresses, IPv4 first, in order. @param cidrs canonical prefixes */
export function aggregate(cidrs: readonly string[]): string[] {
  const sorted = cidrs
    .map(cidrOf)
    .sort((a, b) => a.family - b.family || compare(a.first, b.first) || a.prefix - b.prefix);
  const merged: Cidr[] = [];
  for (const next of sorted) {
    const last = merged.at(-1);
    if (last?.family === next.family && next.last <= last.last) continue;
    merged.push(next);
    for (let pair = siblings(merged); pair; pair = siblings(merged)) merged.splice(-2, 2, pair);
  }
  return merged.map(({ family, prefix, first }) => `${bigIntToIp(first, family)}/${prefix}`);
}

/** The prefix that the last two make together, if they are its two halves. */
function siblings(prefixes: readonly Cidr[]): Cidr | undefined {
  const [a, b] = [prefixes.at(-2), prefixes.at(-1)];
  if (!a || !b || a.family !== b.family || a.prefix !== b.prefix || a.last + 1n !== b.first) return undefined;
  const size = b.last - a.first + 1n;
  if (a.first % size !== 0n) return undefined;
  return { family: a.family, prefix: a.prefix - 1, first: a.first, last: b.last };
}

const compare = (a: bigint, b: bigint): number => (a < b ? -1 : Number(a > b));
