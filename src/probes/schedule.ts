/**
 * Whose turn it is. Each node goes round all its peers in an order of its own, a visit at a time and never faster than five a second, so that
 * what a node sends is the same with a hundred peers and with five thousand, and the time in which it has visited each is known: a second, or a
 * fifth of a second for each peer where that is more; twice that while there are suspects to look at. Orders differ from node to node, so that nobody is visited by all at once. Since each
 * of two nodes visits the other, a pair is measured twice in that time.
 */

/** Visits in a second at most. */
export const VISITS = 5;
/** A peer is visited no more often than this, in milliseconds. */
const LEAST_MS = 1_000;

/** In how many milliseconds all of so many peers are visited. */
export const roundMs = (peers: number): number => Math.max(LEAST_MS, Math.ceil((peers * 1_000) / VISITS));

/** A number of 32 bits of a text (FNV-1a) with its bits mixed, for orders that everybody finds and nobody chooses for another. */
export function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let i = 0; i < text.length; i++) value = Math.imul(value ^ text.charCodeAt(i), 0x01000193);
  return mixed(value);
}

/** Mixes a number's bits (the finalizer of MurmurHash3, which is public domain). */
export function mixed(value: number): number {
  let h = value;
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b);
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35);
  return (h ^ (h >>> 16)) >>> 0;
}

/** A round that goes on while members come and go. */
export class Rounds<T extends { readonly hash: number }> {
  readonly #seed: number;
  #order: T[] = [];
  #next = 0;
  #due = 0;

  /** @param own hash of the node's own name */
  constructor(own: number) {
    this.#seed = own;
  }

  get size(): number {
    return this.#order.length;
  }

  /** Replaces all members: the round begins anew. */
  set(members: Iterable<T>): void {
    const keyed = Array.from(members, (member) => ({ member, key: mixed(member.hash ^ this.#seed) }));
    this.#order = keyed.sort((x, y) => x.key - y.key).map(({ member }) => member);
    this.#next = 0;
  }

  /** A new one is the next. */
  add(member: T): void {
    this.#order.splice(this.#next, 0, member);
  }

  /** One that is gone. */
  remove(member: T): void {
    const at = this.#order.indexOf(member);
    if (at < 0) return;
    this.#order.splice(at, 1);
    if (at < this.#next) this.#next--;
  }

  /** Whose turn it is at a time, in milliseconds of a clock that nobody sets; undefined until the next turn. */
  turn(now: number): T | undefined {
    if (this.#order.length === 0 || now < this.#due) return undefined;
    const interval = roundMs(this.#order.length) / this.#order.length;
    // Visits of a second may be made at once; what a busy process has missed before is not made up for.
    this.#due = Math.max(this.#due + interval, now - LEAST_MS);
    if (this.#next >= this.#order.length) this.#next = 0;
    return this.#order[this.#next++];
  }
}
