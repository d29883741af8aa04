/**
 * All pods of a cluster in little memory: what is kept of each is a row of columns, and an entry is made when it is asked for. A hundred thousand pods as
 * objects, each with a list of texts, take 70 MB of heap, and the collection of garbage looks at all of them; as rows they are 15 MB, most of it their names.
 */
import { bytesToIp, familyOf, ipToBytes } from "../../addr/index.ts";
import type { Kept } from "../informer/changes.ts";
import { PodEntry, type PodMaking } from "./pod-entry.ts";

/** An IPv4 address, and behind it an IPv6 address. */
const IPV6_AT = 4;
const ADDRESS_BYTES = 20;
/** Which addresses a row has. */
const HAS_IPV4 = 1;
const HAS_IPV6 = 2;
const IPV6_FIRST = 4;
/** Others than one of each family: they are kept as they are. */
const OTHERS = 8;

const NO_IPS: readonly string[] = [];

/** See the header. What `get` and the iterators give is a copy: another object each time. */
export class PodColumns implements Kept<PodEntry> {
  readonly #rows = new Map<string, number>();
  readonly #free: number[] = [];
  readonly #makings: PodMaking[] = [];
  readonly #nodes: string[] = [];
  #shapes = new Uint8Array(0);
  #addresses = new Uint8Array(0);
  readonly #otherIps = new Map<number, readonly string[]>();
  /** Of pods of the own node. */
  readonly #uids = new Map<number, string>();

  get size(): number {
    return this.#rows.size;
  }

  has(key: string): boolean {
    return this.#rows.has(key);
  }

  get(key: string): PodEntry | undefined {
    const row = this.#rows.get(key);
    return row === undefined ? undefined : this.#entry(key, row);
  }

  set(key: string, { making, node, ips, uid }: PodEntry): this {
    let row = this.#rows.get(key);
    if (row === undefined) {
      row = this.#free.pop() ?? this.#makings.length;
      this.#rows.set(key, row);
    }
    this.#makings[row] = making;
    this.#nodes[row] = node;
    this.#setIps(row, ips);
    if (uid === "") this.#uids.delete(row);
    else this.#uids.set(row, uid);
    return this;
  }

  delete(key: string): boolean {
    const row = this.#rows.get(key);
    if (row === undefined) return false;
    this.#rows.delete(key);
    this.#otherIps.delete(row);
    this.#uids.delete(row);
    this.#free.push(row);
    return true;
  }

  keys(): MapIterator<string> {
    return this.#rows.keys();
  }

  *values(): Generator<PodEntry, undefined> {
    for (const [key, row] of this.#rows) yield this.#entry(key, row);
  }

  *entries(): Generator<[string, PodEntry], undefined> {
    for (const [key, row] of this.#rows) yield [key, this.#entry(key, row)];
  }

  [Symbol.iterator](): Generator<[string, PodEntry], undefined> {
    return this.entries();
  }

  forEach(callback: (value: PodEntry, key: string, map: ReadonlyMap<string, PodEntry>) => void): void {
    for (const [key, entry] of this.entries()) callback(entry, key, this);
  }

  /** What pods have in common, as often as pods have it. */
  *makings(): Generator<PodMaking> {
    for (const row of this.#rows.values()) yield this.#makings[row] as PodMaking;
  }

  /** Names of pods, each with the node that it is on; no entry is made for that. */
  *nodes(): Generator<[key: string, node: string]> {
    for (const [key, row] of this.#rows) yield [key, this.#nodes[row] as string];
  }

  #entry(key: string, row: number): PodEntry {
    const [making, node] = [this.#makings[row] as PodMaking, this.#nodes[row] as string];
    return new PodEntry(key, making, node, this.#ips(row), this.#uids.get(row) ?? "");
  }

  #setIps(row: number, ips: readonly string[]): void {
    this.#makeRoom(row);
    this.#otherIps.delete(row);
    const at = row * ADDRESS_BYTES;
    let shape = 0;
    for (const ip of ips) {
      const isIpv6 = familyOf(ip) === 6;
      const has = isIpv6 ? HAS_IPV6 : HAS_IPV4;
      if (shape & has) {
        shape = OTHERS;
        this.#otherIps.set(row, ips);
        break;
      }
      if (isIpv6 && shape === 0) shape |= IPV6_FIRST;
      shape |= has;
      this.#addresses.set(ipToBytes(ip), isIpv6 ? at + IPV6_AT : at);
    }
    this.#shapes[row] = shape;
  }

  #ips(row: number): readonly string[] {
    const shape = this.#shapes[row] as number;
    if (shape === 0) return NO_IPS;
    if (shape === OTHERS) return this.#otherIps.get(row) as readonly string[];
    const at = row * ADDRESS_BYTES;
    const text = (from: number, to: number): string => bytesToIp(this.#addresses.subarray(at + from, at + to));
    if (!(shape & HAS_IPV6)) return [text(0, IPV6_AT)];
    const ipv6 = text(IPV6_AT, ADDRESS_BYTES);
    if (!(shape & HAS_IPV4)) return [ipv6];
    const ipv4 = text(0, IPV6_AT);
    return shape & IPV6_FIRST ? [ipv6, ipv4] : [ipv4, ipv6];
  }

  #makeRoom(row: number): void {
    if (row < this.#shapes.length) return;
    const rows = Math.ceil(1.25 * row) + 16;
    const [shapes, addresses] = [new Uint8Array(rows), new Uint8Array(rows * ADDRESS_BYTES)];
    shapes.set(this.#shapes);
    addresses.set(this.#addresses);
    [this.#shapes, this.#addresses] = [shapes, addresses];
  }
}
