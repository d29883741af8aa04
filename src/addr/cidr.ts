/**
 * CIDR prefixes as canonical text ("10.244.1.0/24"), with the arithmetic that planning and IPAM need.
 */
import { addressBits, bigIntToIp, type Family, familyOf, ipToBigInt, parseIp, printable } from "./ip.ts";

/** A parsed prefix; `first` and `last` are the lowest and highest address in it as integers. */
export interface Cidr {
  readonly family: Family;
  readonly prefix: number;
  readonly first: bigint;
  readonly last: bigint;
}

/** The prefix of everything, in each family. */
export const EVERYTHING: Readonly<Record<Family, string>> = { 4: "0.0.0.0/0", 6: "::/0" };

const parsed = new Map<string, Cidr>();
const REMEMBERED = 16_384;

function split(text: string): { ip: string; prefix: number } {
  const slash = text.indexOf("/");
  const length = text.slice(slash + 1);
  if (slash < 0 || !/^(0|[1-9]\d{0,2})$/.test(length)) {
    throw new RangeError(`"${printable(text)}" is not a CIDR (address/prefix length)`);
  }
  const ip = parseIp(text.slice(0, slash));
  const prefix = Number(length);
  if (prefix > addressBits(familyOf(ip))) {
    throw new RangeError(`"${printable(text)}" has a prefix length over ${addressBits(familyOf(ip))}`);
  }
  return { ip, prefix };
}

/**
 * Parses a prefix strictly and returns its canonical text.
 * @throws RangeError naming the text when it is no prefix or has bits set behind its length: such a
 * prefix is a typing error more often than not, and the kernel refuses it as a route.
 */
export function parseCidr(text: string): string {
  const { ip, prefix } = split(text);
  const cidr = partsOf(ip, prefix);
  if (cidr.first !== ipToBigInt(ip)) {
    const network = bigIntToIp(cidr.first, cidr.family);
    throw new RangeError(`"${printable(text)}" has host bits set; the network is ${network}/${prefix}`);
  }
  const canonical = `${ip}/${prefix}`;
  // Whoever parses a prefix works with its parts next.
  remember(canonical, cidr);
  return canonical;
}

/** Parses an address with a prefix length ("10.1.2.3/24") and returns both; host bits may be set. @throws RangeError */
export function parseInterfaceAddress(text: string): { ip: string; prefix: number } {
  return split(text);
}

function partsOf(ip: string, prefix: number): Cidr {
  const family = familyOf(ip);
  const host = BigInt(addressBits(family) - prefix);
  const first = (ipToBigInt(ip) >> host) << host;
  return { family, prefix, first, last: first | ((1n << host) - 1n) };
}

function remember(text: string, cidr: Cidr): void {
  if (parsed.size >= REMEMBERED) parsed.clear();
  parsed.set(text, cidr);
}

/** The parts of a canonical prefix; remembered, since plans ask for the same few again and again. @throws RangeError */
export function cidrOf(text: string): Cidr {
  const known = parsed.get(text);
  if (known) return known;
  const { ip, prefix } = split(text);
  const cidr = partsOf(ip, prefix);
  remember(text, cidr);
  return cidr;
}

/** The network address of a prefix: "10.244.1.0/24" → "10.244.1.0". */
export const networkAddress = (cidr: string): string => bigIntToIp(cidrOf(cidr).first, cidrOf(cidr).family);

/** Whether an address lies in a prefix (false for another family). */
export function cidrContains(cidr: string, ip: string): boolean {
  const { family, first, last } = cidrOf(cidr);
  if (family !== familyOf(ip)) return false;
  const value = ipToBigInt(ip);
  return value >= first && value <= last;
}

/** Whether two prefixes share an address (false for different families). */
export function cidrsOverlap(a: string, b: string): boolean {
  const x = cidrOf(a);
  const y = cidrOf(b);
  return x.family === y.family && x.first <= y.last && y.first <= x.last;
}

/** Whether `inner` lies wholly in `outer`. */
export function cidrCovers(outer: string, inner: string): boolean {
  const x = cidrOf(outer);
  const y = cidrOf(inner);
  return x.family === y.family && x.first <= y.first && y.last <= x.last;
}

/** The prefix of a single address, canonical as the address is. */
export const hostPrefix = (ip: string): string => `${ip}/${addressBits(familyOf(ip))}`;
