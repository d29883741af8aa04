/**
 * Which addresses of a family may be given to pods: pure arithmetic, no state.
 *
 * Never given: the network address of a pod CIDR (it is the node's VTEP address, and the subnet-router
 * anycast address in IPv6), its first host address (pods' gateway is link-local here, but operators and
 * bridged networks expect the gateway there), and the broadcast address in IPv4. A /31 or /127 has no room
 * for a gateway: its second address is given (RFC 3021, RFC 6164). A /32 or /128 is all VTEP.
 * A block of a network that is dealt out in blocks is no different: any of them may become the node's first one, whose
 * network address is the VTEP's, and in a bridged network the last one's broadcast address is the whole subnet's.
 */
import { addressBits, bigIntToIp, cidrOf, type Family, familyOf, ipToBigInt } from "../../addr/index.ts";

/** Addresses from `first` to `last`, both included; empty when `first` is greater. */
export interface Span {
  first: bigint;
  last: bigint;
}

/** The addresses of one family that may be given. */
export interface Pool {
  family: Family;
  /** The CIDRs or ranges as the operator knows them, for messages. */
  label: string;
  spans: readonly Span[];
  excluded: ReadonlySet<string>;
}

/** The addresses of a prefix that pods may have. */
export function podSpan(cidr: string): Span {
  const { family, prefix, first, last } = cidrOf(cidr);
  const hostBits = addressBits(family) - prefix;
  if (hostBits === 0) return { first: first + 1n, last };
  if (hostBits === 1) return { first: first + 1n, last };
  return { first: first + 2n, last: family === 4 ? last - 1n : last };
}

/** The addresses that both spans have. */
export const intersect = (a: Span, b: Span): Span => ({
  first: a.first > b.first ? a.first : b.first,
  last: a.last < b.last ? a.last : b.last,
});

export const isEmpty = (span: Span): boolean => span.first > span.last;

/** Whether the pool may ever give this address. */
export function poolContains(pool: Pool, ip: string): boolean {
  return familyOf(ip) === pool.family && !pool.excluded.has(ip) && inSpans(pool, ipToBigInt(ip));
}

const inSpans = (pool: Pool, value: bigint): boolean =>
  pool.spans.some((span) => value >= span.first && value <= span.last);

/** How many addresses the pool can give in all. */
export function poolSize(pool: Pool): bigint {
  let size = 0n;
  for (const span of pool.spans) if (!isEmpty(span)) size += span.last - span.first + 1n;
  for (const ip of pool.excluded) if (familyOf(ip) === pool.family && inSpans(pool, ipToBigInt(ip))) size -= 1n;
  return size;
}

/**
 * The first address behind `last` (the one given last), going round once, that is not blocked; `undefined`
 * when all are. Its cost is the number of blocked addresses that it meets, never the size of the pool.
 */
export function nextFit(pool: Pool, last: string | undefined, blocked: (ip: string) => boolean): string | undefined {
  for (const span of roundFrom(pool, last)) {
    for (let value = span.first; value <= span.last; value++) {
      const ip = bigIntToIp(value, pool.family);
      if (!pool.excluded.has(ip) && !blocked(ip)) return ip;
    }
  }
  return undefined;
}

/** The pool's spans in the order in which next-fit walks them: from behind `last` round to `last` itself. */
function roundFrom(pool: Pool, last: string | undefined): Span[] {
  const spans = [...pool.spans];
  if (last === undefined || familyOf(last) !== pool.family) return spans;
  const at = ipToBigInt(last);
  const index = spans.findIndex((span) => at >= span.first && at <= span.last);
  const current = spans[index];
  if (current === undefined) return spans;
  return [
    { first: at + 1n, last: current.last },
    ...spans.slice(index + 1),
    ...spans.slice(0, index),
    { first: current.first, last: at },
  ];
}

/** The pool without the addresses of some blocks; a span never reaches over more than one block. */
export function without(pool: Pool, blocks: readonly string[]): Pool {
  const gone = blocks.map(cidrOf).filter(({ family }) => family === pool.family);
  const spans = pool.spans.filter(
    ({ first, last }) => !gone.some((block) => block.first <= first && last <= block.last),
  );
  return { ...pool, spans };
}
