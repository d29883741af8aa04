/**
 * IP addresses as plain values. An address is its canonical text (RFC 5952 for IPv6) everywhere in
 * Skylane, so that values compare with `===`, sort, print and serialise as they are; bytes exist only at
 * the edge to the kernel. The family is a parameter of every function, never a second copy of it.
 */
import ipaddr from "ipaddr.js";

/** Address family: 4 for IPv4, 6 for IPv6. */
export type Family = 4 | 6;

/** Both families, in the order in which Skylane handles them. */
export const FAMILIES: readonly Family[] = [4, 6];

/** Number of bits of an address of a family: 32 or 128. */
export const addressBits = (family: Family): 32 | 128 => (family === 4 ? 32 : 128);

/** The family of a canonical address or CIDR: only IPv6 text has a colon. */
export const familyOf = (text: string): Family => (text.includes(":") ? 6 : 4);

/**
 * Parses an address strictly and returns its canonical text.
 * IPv4 must be four decimal parts; zone identifiers and IPv4-mapped IPv6 addresses are refused, since no
 * pod, VTEP or node address of Kubernetes may be one.
 * @throws RangeError naming the text when it is no such address.
 */
export function parseIp(text: string): string {
  // What four decimal parts without leading zeros say is their canonical text, too.
  if (ipv4Value(text) !== undefined) return text;
  const short = familyOf(text) === 6 ? ipv6Bytes(text) : undefined;
  // An address that embeds one of IPv4 is left to the library.
  if (short && (short[10] !== 0xff || short[11] !== 0xff)) return ipv6Text(short);
  if (familyOf(text) === 4 || !ipaddr.IPv6.isValid(text) || text.includes("%")) {
    throw new RangeError(`"${printable(text)}" is not an IPv4 or IPv6 address`);
  }
  const parsed = ipaddr.IPv6.parse(text);
  if (parsed.isIPv4MappedAddress()) {
    throw new RangeError(`"${printable(text)}" is an IPv4-mapped IPv6 address; write the IPv4 address itself`);
  }
  return parsed.toRFC5952String();
}

/** Parses addresses with commas between, at most one a family. @throws RangeError naming what is wrong */
export function parseIpPerFamily(text: string): string[] {
  const ips = text.split(",").map((part) => parseIp(part.trim()));
  const twice = ips.find((ip, at) => ips.slice(0, at).some((other) => familyOf(other) === familyOf(ip)));
  if (twice !== undefined) throw new RangeError(`it names two IPv${familyOf(twice)} addresses`);
  return ips;
}

/**
 * The value of four decimal parts; undefined for any other text. An agent that starts reads those of thousands of nodes, and
 * the library takes ten times as long, with an array and several expressions an address.
 */
function ipv4Value(text: string): number | undefined {
  let value = 0;
  let part = -1;
  let dots = 0;
  for (let at = 0; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === DOT) {
      if (part < 0 || ++dots > 3) return undefined;
      value = value * 256 + part;
      part = -1;
    } else if (code >= ZERO && code <= ZERO + 9 && part !== 0) {
      part = part < 0 ? code - ZERO : part * 10 + code - ZERO;
      if (part > 255) return undefined;
    } else return undefined;
  }
  return part < 0 || dots < 3 ? undefined : value * 256 + part;
}

const DOT = 46;
const ZERO = 48;

/** The text of an IPv4 address's value. */
const ipv4Text = (value: number): string =>
  `${Math.floor(value / 0x1000000)}.${(value >> 16) & 255}.${(value >> 8) & 255}.${value & 255}`;

/** The bytes of a canonical address in network order: 4 or 16 of them. */
export function ipToBytes(ip: string): Uint8Array {
  const value = ipv4Value(ip);
  if (value !== undefined) return Uint8Array.of(value / 0x1000000, value >> 16, value >> 8, value);
  return ipv6Bytes(ip) ?? Uint8Array.from(ipaddr.IPv6.parse(ip).toByteArray());
}

const COLON = 58;
const SMALL_A = 97;
const IPV6_BYTES = 16;

/** Writes the bytes of a canonical address to a place among others, in network order: 4 or 16 of them. */
export function writeIp(ip: string, bytes: Uint8Array, at: number): void {
  const value = ipv4Value(ip);
  if (value === undefined) return bytes.set(ipv6Bytes(ip, IPV6_SCRATCH) ?? ipToBytes(ip), at);
  bytes[at] = value / 0x1000000;
  bytes[at + 1] = value >> 16;
  bytes[at + 2] = value >> 8;
  bytes[at + 3] = value;
}

const IPV6_SCRATCH = new Uint8Array(IPV6_BYTES);

/** The bytes of an IPv6 address written in groups of small digits throughout; undefined for any other text, which is the library's. It takes ten times as long. */
function ipv6Bytes(text: string, bytes = new Uint8Array(IPV6_BYTES)): Uint8Array | undefined {
  let [at, gap, group, digits] = [0, -1, 0, 0];
  for (let i = 0; i <= text.length; i++) {
    const code = i < text.length ? text.charCodeAt(i) : COLON;
    if (code !== COLON) {
      const digit = code >= SMALL_A ? code - SMALL_A + 10 : code - ZERO;
      if (digit < 0 || digit > 15 || (digit > 9 && code < SMALL_A) || ++digits > 4) return undefined;
      group = group * 16 + digit;
      continue;
    }
    const isGap = text.charCodeAt(i + 1) === COLON;
    if (digits > 0) {
      if (at === IPV6_BYTES) return undefined;
      bytes[at++] = group >> 8;
      bytes[at++] = group & 0xff;
      [group, digits] = [0, 0];
      // Nothing is between two colons but at the gap, which may begin the text, and may end it.
    } else if (!(isGap && i === 0) && !(i === text.length && gap === at && text.charCodeAt(i - 2) === COLON))
      return undefined;
    if (!isGap) continue;
    if (gap >= 0) return undefined;
    gap = at;
    i++;
  }
  if (gap < 0) return at === IPV6_BYTES ? bytes : undefined;
  if (at === IPV6_BYTES) return undefined;
  const behind = IPV6_BYTES - (at - gap);
  return bytes.copyWithin(behind, gap, at).fill(0, gap, behind);
}

/** The canonical text of an IPv6 address (RFC 5952, section 4): small digits, and the longest run of at least two zero groups left out, the first of equal ones. */
function ipv6Text(bytes: Uint8Array): string {
  let [gap, length] = [-1, 1];
  for (let at = 0; at < IPV6_BYTES; at += 2) {
    let end = at;
    while (end < IPV6_BYTES && bytes[end] === 0 && bytes[end + 1] === 0) end += 2;
    if (end - at > 2 * length) [gap, length] = [at, (end - at) / 2];
    if (end > at) at = end;
  }
  const groups = (from: number, to: number): string => {
    let text = "";
    for (let at = from; at < to; at += 2) {
      if (at > from) text += ":";
      text += (((bytes[at] as number) << 8) | (bytes[at + 1] as number)).toString(16);
    }
    return text;
  };
  return gap < 0 ? groups(0, IPV6_BYTES) : `${groups(0, gap)}::${groups(gap + 2 * length, IPV6_BYTES)}`;
}

/** The canonical text of an address given as 4 or 16 bytes in network order. @throws RangeError on any other length. */
export function bytesToIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}`;
  if (bytes.length === IPV6_BYTES) return ipv6Text(bytes);
  throw new RangeError(`an IP address has 4 or 16 bytes, not ${bytes.length}`);
}

/** A canonical address as an unsigned integer, for arithmetic. */
export function ipToBigInt(ip: string): bigint {
  const short = ipv4Value(ip);
  if (short !== undefined) return BigInt(short);
  let value = 0n;
  for (const byte of ipToBytes(ip)) value = (value << 8n) | BigInt(byte);
  return value;
}

/** The canonical address of a family with that integer value. @throws RangeError when it does not fit. */
export function bigIntToIp(value: bigint, family: Family): string {
  if (value < 0n || value >> BigInt(addressBits(family)) !== 0n) {
    throw new RangeError(`${value} is outside the IPv${family} address space`);
  }
  if (family === 4) return ipv4Text(Number(value));
  const bytes = new Uint8Array(addressBits(family) / 8);
  for (let i = bytes.length - 1, v = value; i >= 0; i--, v >>= 8n) bytes[i] = Number(v & 0xffn);
  return bytesToIp(bytes);
}

/** What an address is for, as far as Skylane must tell: only `unicast` can be a node, a VTEP or a pod. */
export type IpScope = "unicast" | "linkLocal" | "loopback" | "multicast" | "unspecified" | "broadcast";

/** The scope of a canonical address (RFC 5735, RFC 4291). */
export function ipScope(ip: string): IpScope {
  const value = ipv4Value(ip);
  if (value !== undefined) return ipv4Scope(value);
  const range: string = ipaddr.parse(ip).range();
  switch (range) {
    case "linkLocal":
    case "loopback":
    case "multicast":
    case "unspecified":
    case "broadcast":
      return range;
    default:
      return "unicast";
  }
}

function ipv4Scope(value: number): IpScope {
  const first = Math.floor(value / 0x1000000);
  if (first === 0) return "unspecified";
  if (first === 127) return "loopback";
  if (first >= 224 && first < 240) return "multicast";
  if (value === 0xffffffff) return "broadcast";
  return Math.floor(value / 0x10000) === 0xa9fe ? "linkLocal" : "unicast";
}

/** Text from outside made safe to quote in an error: control characters escaped, cut at 80 characters. */
export function printable(text: string): string {
  const quoted = JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
  return quoted.slice(1, -1);
}
