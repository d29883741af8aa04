/**
 * Turns a request into one choice a family: the pool of addresses that it may come from, or the one
 * address that was asked for. Everything that no state of the node could satisfy is refused here, before
 * anything is locked or written.
 */
import {
  cidrContains,
  cidrCovers,
  cidrOf,
  cidrsOverlap,
  type Family,
  familyOf,
  ipScope,
  ipToBigInt,
  parseCidr,
  parseInterfaceAddress,
  parseIp,
} from "../../addr/index.ts";
import { IpamInvalid } from "./errors.ts";
import { intersect, isEmpty, type Pool, podSpan, poolContains, poolSize, type Span } from "./pool.ts";
import type { IpRange, ReserveRequest } from "./types.ts";

/** How many CIDRs a message names. */
const NAMED = 8;

/** What one family is to get. */
export interface Choice {
  pool: Pool;
  /** The asked-for address; any of the pool otherwise. */
  wanted?: string;
}

/**
 * The choices of a request, in the order of its pod CIDRs' families; families that only a claim's address has come last.
 * @throws IpamInvalid naming what is wrong: no pod CIDR, an address outside of them, two for one family …
 */
export function choicesOf(request: ReserveRequest): Choice[] {
  const claimed = request.claimed === true;
  const cidrs = request.podCidrs.map((text) => valid("pod CIDR", () => parseCidr(text)));
  const exclude = (request.exclude ?? []).map((text) => valid("excluded address", () => parseIp(text)));
  const wanted = wantedOf(request.ips ?? [], cidrs, claimed);
  const families = [...new Set([...cidrs.map(familyOf), ...wanted.keys()])];
  if (families.length === 0) throw new IpamInvalid("this node has no pod CIDR to give addresses from");
  const ranges = rangesOf(request.ranges ?? [], cidrs);
  return families.map((family) => {
    const own = cidrs.filter((cidr) => familyOf(cidr) === family);
    const ip = wanted.get(family);
    if (claimed && ip !== undefined && !own.some((cidr) => cidrContains(cidr, ip))) {
      return { pool: poolOfOne(family, ip, exclude), wanted: ip };
    }
    const pool = poolOf(family, own, ranges.get(family), exclude);
    if (ip === undefined) return { pool };
    if (!poolContains(pool, ip)) {
      throw new IpamInvalid(
        `address ${ip} cannot be given: pods get none of the network, first host, broadcast and excluded addresses` +
          ` of ${own.join(", ")}${ranges.has(family) ? ` and only those in ${pool.label}` : ""}`,
      );
    }
    return { pool, wanted: ip };
  });
}

/** The pool of a claim's address, which is in no block of this node. */
function poolOfOne(family: Family, ip: string, exclude: readonly string[]): Pool {
  if (ipScope(ip) !== "unicast" || exclude.includes(ip)) {
    throw new IpamInvalid(
      `the claim's address ${ip} cannot be given: it is ${exclude.includes(ip) ? "excluded" : ipScope(ip)}`,
    );
  }
  const value = ipToBigInt(ip);
  return { family, label: ip, spans: [{ first: value, last: value }], excluded: new Set() };
}

function wantedOf(ips: readonly string[], cidrs: readonly string[], claimed: boolean): Map<Family, string> {
  const wanted = new Map<Family, string>();
  for (const text of ips) {
    const ip = valid("asked-for address", () => (text.includes("/") ? parseInterfaceAddress(text).ip : parseIp(text)));
    const family = familyOf(ip);
    if (!claimed && !cidrs.some((cidr) => cidrContains(cidr, ip))) {
      throw new IpamInvalid(`asked-for address ${ip} is outside of this node's pod CIDRs (${cidrs.join(", ")})`);
    }
    const other = wanted.get(family);
    if (other !== undefined && other !== ip) {
      throw new IpamInvalid(`two IPv${family} addresses were asked for, ${other} and ${ip}; a pod gets one a family`);
    }
    wanted.set(family, ip);
  }
  return wanted;
}

interface NarrowedRange {
  label: string;
  span: Span;
  gateway?: string;
}

function rangesOf(sets: readonly (readonly IpRange[])[], cidrs: readonly string[]): Map<Family, NarrowedRange[]> {
  const byFamily = new Map<Family, NarrowedRange[]>();
  for (const set of sets) {
    const ranges = set.map((range) => narrow(range, cidrs));
    const families = new Set(set.map((range) => familyOf(range.subnet)));
    const [family] = families;
    if (family === undefined) throw new IpamInvalid("a set of IP ranges is empty");
    if (families.size > 1) throw new IpamInvalid("a set of IP ranges mixes IPv4 and IPv6; each family needs its own");
    if (byFamily.has(family)) {
      throw new IpamInvalid(`two sets of IPv${family} ranges were given; a pod gets one address a family`);
    }
    byFamily.set(family, ranges);
  }
  return byFamily;
}

function narrow(range: IpRange, cidrs: readonly string[]): NarrowedRange {
  const subnet = valid("range subnet", () => parseCidr(range.subnet));
  const bound = (name: string, text: string | undefined): string | undefined => {
    if (text === undefined) return undefined;
    const ip = valid(name, () => parseIp(text));
    if (!cidrContains(subnet, ip)) throw new IpamInvalid(`${name} ${ip} is outside of the range's subnet ${subnet}`);
    return ip;
  };
  const start = bound("rangeStart", range.rangeStart);
  const end = bound("rangeEnd", range.rangeEnd);
  const gateway = bound("range gateway", range.gateway);
  const hosts = podSpan(subnet);
  const asked: Span = {
    first: start === undefined ? hosts.first : ipToBigInt(start),
    last: end === undefined ? hosts.last : ipToBigInt(end),
  };
  const label =
    start === undefined && end === undefined ? subnet : `${start ?? "first"} to ${end ?? "last"} of ${subnet}`;
  if (isEmpty(asked)) throw new IpamInvalid(`the range ${label} has no address that a pod can have`);
  const own = cidrs.find(
    (cidr) => cidrsOverlap(cidr, subnet) && (cidrCovers(cidr, subnet) || within(asked, cidrOf(cidr))),
  );
  if (own === undefined) {
    throw new IpamInvalid(`the range ${label} is not wholly in one of this node's pod CIDRs (${cidrs.join(", ")})`);
  }
  const span = intersect(asked, podSpan(own));
  if (isEmpty(span)) {
    throw new IpamInvalid(`the range ${label} has only the network, first host or broadcast address of ${own}`);
  }
  return { label, span, ...(gateway === undefined ? {} : { gateway }) };
}

const within = (inner: Span, outer: Span): boolean => inner.first >= outer.first && inner.last <= outer.last;

function poolOf(
  family: Family,
  cidrs: readonly string[],
  ranges: readonly NarrowedRange[] | undefined,
  exclude: readonly string[],
): Pool {
  const pool: Pool = {
    family,
    label: listed(ranges?.map((range) => range.label) ?? cidrs),
    spans: (ranges?.map((range) => range.span) ?? cidrs.map(podSpan)).filter((span) => !isEmpty(span)),
    excluded: new Set([...exclude, ...(ranges ?? []).flatMap((range) => range.gateway ?? [])]),
  };
  if (poolSize(pool) <= 0n) {
    throw new IpamInvalid(
      `${pool.label} has no room for pods: its addresses are all reserved (network, first host, broadcast, excluded);` +
        ` a pod CIDR of at least /${family === 4 ? 31 : 127} is needed`,
    );
  }
  return pool;
}

/** Names for a message; of very many the first few. */
function listed(names: readonly string[]): string {
  if (names.length <= NAMED) return names.join(", ");
  return `${names.slice(0, NAMED).join(", ")} and ${names.length - NAMED} more`;
}

/** Runs a parser and gives its complaint the name of what was parsed. */
function valid<T>(what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    if (error instanceof RangeError) throw new IpamInvalid(`${what}: ${error.message}`, { cause: error });
    throw error;
  }
}
