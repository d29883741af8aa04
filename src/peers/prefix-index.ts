/**
 * A set of prefixes, nested or not, that answers which of them share an address with a given one. Prefixes either nest
 * or are disjoint. Sorted by first address, and by length where that is the same, those inside a prefix follow one
 * another, and those around it are found by asking for each length that is in use: one or two in most clusters.
 *
 * A prefix's place in the order is text: the hexadecimal digits of its first address, and two of its length.
 */
import { addressBits, type Family, familyOf, ipToBytes } from "../addr/index.ts";

interface Entry<T> {
  place: string;
  owner: T;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0"));

const placeOf = (digits: string, prefix: number): string => digits + HEX[prefix];

/** The digits with all bits behind a length set to zero. */
function masked(digits: string, prefix: number): string {
  const whole = prefix >> 2;
  if (whole >= digits.length) return digits;
  const nibble = (Number.parseInt(digits[whole] as string, 16) & (0xf0 >> (prefix & 3))).toString(16);
  return (digits.slice(0, whole) + nibble).padEnd(digits.length, "0");
}

/** A prefix taken apart; owners ask for theirs again and again. */
export interface Prefix {
  readonly family: Family;
  /** Its first address in hexadecimal. */
  readonly digits: string;
  readonly length: number;
}

/** The prefixes of one family. */
class Shelf<T> {
  readonly #entries: Entry<T>[] = [];
  /** How many there are of each length, shortest first. */
  readonly #lengths: { length: number; count: number }[] = [];

  add({ digits, length }: Prefix, owner: T): void {
    const place = placeOf(digits, length);
    this.#entries.splice(this.#find(place), 0, { place, owner });
    this.#count(length, 1);
  }

  remove({ digits, length }: Prefix, owner: T): void {
    const place = placeOf(digits, length);
    for (let at = this.#find(place); this.#entries[at]?.place === place; at++) {
      if (this.#entries[at]?.owner !== owner) continue;
      this.#entries.splice(at, 1);
      return this.#count(length, -1);
    }
  }

  overlapping({ digits, length }: Prefix, visit: (owner: T) => void): void {
    for (const wider of this.#lengths) {
      if (wider.length >= length) break;
      const place = placeOf(masked(digits, wider.length), wider.length);
      for (let at = this.#find(place); ; at++) {
        const entry = this.#entries[at];
        if (entry?.place !== place) break;
        visit(entry.owner);
      }
    }
    for (let at = this.#find(placeOf(digits, length)); at < this.#entries.length; at++) {
      const { place, owner } = this.#entries[at] as Entry<T>;
      if (masked(place.slice(0, digits.length), length) !== digits) return;
      visit(owner);
    }
  }

  #count(length: number, by: number): void {
    const at = this.#lengths.findIndex((one) => one.length >= length);
    const found = this.#lengths[at];
    if (found?.length !== length) this.#lengths.splice(at < 0 ? this.#lengths.length : at, 0, { length, count: by });
    else if ((found.count += by) === 0) this.#lengths.splice(at, 1);
  }

  /** Where the first entry is whose place is not before this one. */
  #find(place: string): number {
    const entries = this.#entries;
    let [low, high] = [0, entries.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if ((entries[middle] as Entry<T>).place < place) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

/** Prefixes of both families, each with its owner; several owners may have the same one. */
export class PrefixIndex<T> {
  readonly #shelves: Record<Family, Shelf<T>> = { 4: new Shelf(), 6: new Shelf() };

  add(prefix: Prefix, owner: T): void {
    this.#shelves[prefix.family].add(prefix, owner);
  }

  /** Takes a prefix of an owner out. */
  remove(prefix: Prefix, owner: T): void {
    this.#shelves[prefix.family].remove(prefix, owner);
  }

  /** Visits the owners of all prefixes that share an address with this one: wider ones first, then by address. */
  overlapping(prefix: Prefix, visit: (owner: T) => void): void {
    this.#shelves[prefix.family].overlapping(prefix, visit);
  }
}

/** Takes a canonical prefix apart; an address is the prefix of its full length. */
export function prefixOf(text: string): Prefix {
  const slash = text.indexOf("/");
  const family = familyOf(text);
  let digits = "";
  for (const byte of ipToBytes(slash < 0 ? text : text.slice(0, slash))) digits += HEX[byte];
  return { family, digits, length: slash < 0 ? addressBits(family) : Number(text.slice(slash + 1)) };
}
