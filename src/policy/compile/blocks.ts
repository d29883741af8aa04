/**
 * Address blocks of policies, cut into pieces that do not overlap, each with the blocks that it is in: an interval set of the kernel has no
 * overlaps, and an address is in exactly one piece or in none.
 */
import { addressBits, bigIntToIp, cidrOf, type Family, FAMILIES, familyOf, ipToBigInt } from "../../addr/index.ts";
import type { Block } from "../semantics/types.ts";
import type { Atom, BlockAtom } from "./atoms.ts";

/** Addresses from `first` to `last`, both included. */
export interface Interval {
  first: bigint;
  last: bigint;
}

export const lastOf = (family: Family): bigint => (1n << BigInt(addressBits(family))) - 1n;

/** What of a block is left without its exceptions, in order and apart. */
export function intervalsOf({ cidr, except }: Block): Interval[] {
  const { first, last } = cidrOf(cidr);
  return without({ first, last }, except.map(cidrOf));
}

/** What of an interval no other one covers. */
export function without({ first, last }: Interval, others: readonly Interval[]): Interval[] {
  const left: Interval[] = [];
  let from = first;
  for (const other of [...others].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    if (other.first > from) left.push({ first: from, last: other.first - 1n });
    if (other.last >= from) from = other.last + 1n;
  }
  if (from <= last) left.push({ first: from, last });
  return left;
}

/** What any of some intervals covers, in order and apart. */
export function union(intervals: readonly Interval[]): Interval[] {
  const merged: Interval[] = [];
  for (const { first, last } of [...intervals].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0))) {
    const before = merged.at(-1);
    if (before && first <= before.last + 1n) {
      if (last > before.last) before.last = last;
    } else merged.push({ first, last });
  }
  return merged;
}

/** A piece of the addresses. */
export interface Piece extends Interval {
  atoms: readonly Atom[];
}

const NONE: readonly Atom[] = [];

/** The pieces of all blocks in use. */
export class Blocks {
  #pieces: Record<Family, readonly Piece[]> = { 4: [], 6: [] };

  rebuild(atoms: Iterable<BlockAtom>): void {
    const all = [...atoms];
    this.#pieces = {
      4: cut(all.filter(({ family }) => family === 4)),
      6: cut(all.filter(({ family }) => family === 6)),
    };
  }

  get none(): boolean {
    return FAMILIES.every((family) => this.#pieces[family].length === 0);
  }

  /** The blocks that an address is in. */
  at(ip: string): readonly Atom[] {
    const pieces = this.#pieces[familyOf(ip)];
    if (pieces.length === 0) return NONE;
    const value = ipToBigInt(ip);
    let [low, high] = [0, pieces.length - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if ((pieces[middle] as Piece).first <= value) low = middle;
      else high = middle - 1;
    }
    const found = pieces[low] as Piece;
    return value >= found.first && value <= found.last ? found.atoms : NONE;
  }

  /** Pieces as "first-last", as nft writes a range; a single address alone. */
  *ranges(family: Family): Generator<{ range: string; atoms: readonly Atom[] }> {
    for (const { first, last, atoms } of this.#pieces[family]) {
      const from = bigIntToIp(first, family);
      yield { range: first === last ? from : `${from}-${bigIntToIp(last, family)}`, atoms };
    }
  }
}

/** Sweeps over the ends of all intervals in order. */
function cut(atoms: readonly BlockAtom[]): Piece[] {
  const ends: { at: bigint; atom: BlockAtom; begins: boolean }[] = [];
  for (const atom of atoms)
    for (const { first, last } of atom.intervals)
      ends.push({ at: first, atom, begins: true }, { at: last + 1n, atom, begins: false });
  ends.sort((a, b) => (a.at < b.at ? -1 : a.at > b.at ? 1 : 0));
  const pieces: Piece[] = [];
  const open = new Set<BlockAtom>();
  for (let i = 0; i < ends.length; ) {
    const { at } = ends[i] as (typeof ends)[number];
    for (; i < ends.length && (ends[i] as (typeof ends)[number]).at === at; i++) {
      const { atom, begins } = ends[i] as (typeof ends)[number];
      if (begins) open.add(atom);
      else open.delete(atom);
    }
    const next = ends[i]?.at;
    if (open.size > 0 && next !== undefined) pieces.push({ first: at, last: next - 1n, atoms: [...open] });
  }
  return pieces;
}
