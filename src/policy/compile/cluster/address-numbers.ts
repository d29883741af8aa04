/**
 * Numbers for addresses: a table of all that are known, in 20 bytes each. As texts and entries of maps two hundred thousand addresses take ten times as much.
 *
 * An index of numbers, by the addresses' hash, stands beside the addresses; who collides has the next free place, and what is taken out has those behind it move
 * up (linear probing).
 */
import { bytesToIp, type Family, familyOf, writeIp } from "../../../addr/index.ts";

/** An IPv4 address is in the last four, behind what no address of IPv6 has that is a pod's or a node's (RFC 4291, section 2.5.5.2). */
const BYTES = 16;
const WORDS = BYTES / 4;
const IPV4_AT = 12;
const IPV4_MARK = 0xff;
/** The mark as a word of this machine. */
const IPV4_WORD = new Uint32Array(Uint8Array.of(0, 0, IPV4_MARK, IPV4_MARK).buffer)[0] as number;
const FEWEST = 64;
/** Nobody can choose addresses that meet in one place. */
const SEED = Math.floor(Math.random() * 2 ** 32);

/** See the header. */
export class AddressNumbers {
  #words = new Uint32Array(FEWEST * WORDS);
  #bytes = new Uint8Array(this.#words.buffer);
  /** Numbers plus one; 0 where a place is free. At most half of them are taken. */
  #index = new Uint32Array(2 * FEWEST);
  readonly #free: number[] = [];
  #next = 0;
  readonly #asked = new Uint32Array(WORDS);
  readonly #askedBytes = new Uint8Array(this.#asked.buffer);

  /** The number of a canonical address; undefined where it has none. */
  find(ip: string): number | undefined {
    this.#ask(ip);
    const at = this.#index[this.#place()] as number;
    return at === 0 ? undefined : at - 1;
  }

  /** The number of a canonical address, which it has from now on. */
  of(ip: string): number {
    this.#ask(ip);
    const place = this.#place();
    const known = this.#index[place] as number;
    if (known !== 0) return known - 1;
    const number = this.#free.pop() ?? this.#next++;
    this.#makeRoom(number);
    this.#words.set(this.#asked, number * WORDS);
    this.#index[place] = number + 1;
    if (2 * (this.#next - this.#free.length) > this.#index.length) this.#reindex(2 * this.#index.length);
    return number;
  }

  /** The address that has a number. */
  text(number: number): string {
    const at = number * BYTES;
    return bytesToIp(this.#bytes.subarray(this.family(number) === 4 ? at + IPV4_AT : at, at + BYTES));
  }

  family(number: number): Family {
    const at = number * WORDS;
    return this.#words[at] === 0 && this.#words[at + 1] === 0 && this.#words[at + 2] === IPV4_WORD ? 4 : 6;
  }

  /** Forgets an address, whose number is free then. */
  forget(number: number): void {
    let hole = this.#hash(this.#words, number * WORDS);
    while (this.#index[hole] !== number + 1) hole = (hole + 1) & (this.#index.length - 1);
    const mask = this.#index.length - 1;
    for (let at = (hole + 1) & mask; this.#index[at] !== 0; at = (at + 1) & mask) {
      const wanted = this.#hash(this.#words, ((this.#index[at] as number) - 1) * WORDS);
      // It may move up unless its own place is behind the hole.
      if (((at - wanted) & mask) < ((at - hole) & mask)) continue;
      this.#index[hole] = this.#index[at] as number;
      hole = at;
    }
    this.#index[hole] = 0;
    this.#free.push(number);
  }

  #ask(ip: string): void {
    if (familyOf(ip) === 6) return writeIp(ip, this.#askedBytes, 0);
    this.#asked.fill(0);
    this.#asked[2] = IPV4_WORD;
    writeIp(ip, this.#askedBytes, IPV4_AT);
  }

  /** Where the address that is asked for is, or would be. */
  #place(): number {
    const mask = this.#index.length - 1;
    for (let at = this.#hash(this.#asked, 0); ; at = (at + 1) & mask) {
      const there = this.#index[at] as number;
      if (there === 0 || this.#isAsked((there - 1) * WORDS)) return at;
    }
  }

  #isAsked(at: number): boolean {
    for (let i = 0; i < WORDS; i++) if (this.#words[at + i] !== this.#asked[i]) return false;
    return true;
  }

  #hash(words: Uint32Array, at: number): number {
    let hash = SEED;
    for (let i = 0; i < WORDS; i++) {
      hash = Math.imul(hash ^ (words[at + i] as number), 0x9e3779b1);
      hash ^= hash >>> 15;
    }
    return hash & (this.#index.length - 1);
  }

  #makeRoom(number: number): void {
    if (number * WORDS < this.#words.length) return;
    const words = new Uint32Array(Math.ceil(1.25 * number) * WORDS);
    words.set(this.#words);
    this.#words = words;
    this.#bytes = new Uint8Array(words.buffer);
  }

  #reindex(places: number): void {
    const numbers = this.#index.filter((one) => one !== 0);
    this.#index = new Uint32Array(places);
    for (const one of numbers) {
      let at = this.#hash(this.#words, (one - 1) * WORDS);
      while (this.#index[at] !== 0) at = (at + 1) & (places - 1);
      this.#index[at] = one;
    }
  }
}
