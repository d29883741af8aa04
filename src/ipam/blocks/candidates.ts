/**
 * Which blocks of a network are free, and in which order a node tries them: pure arithmetic. Its cost is that of sorting
 * the blocks that exist; a network of 2^58 blocks is no slower than one of ten.
 */
import { addressBits, bigIntToIp, cidrOf, type Family, ipToBigInt, sha256 } from "../../addr/index.ts";

interface Grid {
  family: Family;
  prefix: number;
  first: bigint;
  step: bigint;
  count: bigint;
}

function gridOf(cidr: string, blockSize: number): Grid {
  const { family, prefix, first, last } = cidrOf(cidr);
  const own = Math.max(prefix, addressBits(family) - Math.log2(blockSize));
  const step = 1n << BigInt(addressBits(family) - own);
  return { family, prefix: own, first, step, count: (last - first + 1n) / step };
}

const blockAt = ({ family, prefix, first, step }: Grid, index: bigint): string =>
  `${bigIntToIp(first + index * step, family)}/${prefix}`;

/** How many blocks of a size (a power of two; a smaller CIDR is one block) a CIDR has. */
export const blockCount = (cidr: string, blockSize: number): bigint => gridOf(cidr, blockSize).count;

/** The block of that size which an address of the CIDR is in. */
export function blockOf(cidr: string, blockSize: number, ip: string): string {
  const grid = gridOf(cidr, blockSize);
  return blockAt(grid, (ipToBigInt(ip) - grid.first) / grid.step);
}

/**
 * The blocks of a CIDR that share no address with an existing one of whatever size, each once: from a place that the seed
 * (a node's name) says on to the end, then from the beginning. So nodes that start together seldom meet.
 */
export function* freeBlocks(
  cidr: string,
  blockSize: number,
  existing: Iterable<string>,
  seed: string,
): Generator<string> {
  const grid = gridOf(cidr, blockSize);
  const taken = merged(existing, grid.family);
  const start = Buffer.from(sha256(seed)).readBigUInt64BE(0) % grid.count;
  yield* freeBetween(grid, taken, start, grid.count);
  yield* freeBetween(grid, taken, 0n, start);
}

function* freeBetween(grid: Grid, taken: readonly Span[], from: bigint, to: bigint): Generator<string> {
  let at = 0;
  for (let index = from; index < to; index++) {
    const first = grid.first + index * grid.step;
    while (at < taken.length && (taken[at] as Span).last < first) at++;
    const next = taken[at];
    if (next === undefined || next.first >= first + grid.step) yield blockAt(grid, index);
    else if (next.last >= first + grid.step) index = (next.last - grid.first + 1n) / grid.step - 1n; // behind a larger one
  }
}

interface Span {
  first: bigint;
  last: bigint;
}

function merged(cidrs: Iterable<string>, family: Family): Span[] {
  const spans: Span[] = [];
  for (const cidr of cidrs) {
    const { family: its, first, last } = cidrOf(cidr);
    if (its === family) spans.push({ first, last });
  }
  spans.sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  const out: Span[] = [];
  for (const span of spans) {
    const before = out.at(-1);
    if (before !== undefined && span.first <= before.last)
      before.last = before.last > span.last ? before.last : span.last;
    else out.push({ ...span });
  }
  return out;
}
