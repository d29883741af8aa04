/**
 * Which of this machine's addresses carries the overlay. A pure function of the Node object, the
 * configuration and the machine's links and addresses, so that a start, an address that moves and a
 * changed annotation all go the same way, and every choice can be tested without a kernel.
 *
 * Who decides, first to last: the operator's annotation on the Node, the configured selection (all criteria
 * given must hold), the Node's own InternalIPs. An answer that is not there yet is no error: it is a thing
 * to wait for, and the caller leaves the data path as it was.
 */
import { cidrContains, type Family, familyOf, ipScope, parseIp } from "../addr/index.ts";
import { matchInterfaces } from "../config/index.ts";
import { type Address, isPodLinkGroup, type Link } from "../netlink/index.ts";

/** How the configuration selects the underlay; nothing given means the Node's InternalIPs. */
export interface UnderlaySelection {
  /** Name of the device that has the address. */
  interface?: string | undefined;
  /** Regular expression that the whole device name must match. */
  interfaceRegexp?: string | undefined;
  /** Prefix that the address must be in. */
  cidr?: string | undefined;
  /** An address; the device and source with which the kernel would reach it are taken. */
  canReach?: string | undefined;
}

/** All that the choice depends on. */
export interface UnderlayInput {
  /** Text of the `skylane.dev/underlay-ip` annotation: an address, or one a family with a comma between. */
  override?: string | undefined;
  selection: UnderlaySelection;
  /** The Node's addresses of type InternalIP, in its order: the first one's family is the preferred one. */
  internalIps: readonly string[];
  links: readonly Link[];
  addresses: readonly Address[];
  /** The kernel's route lookup; undefined where it finds no route. */
  routeTo(ip: string): { ifindex?: number; prefSrc?: string } | undefined;
  /** The address in use, kept where several would do as well. */
  current?: string | undefined;
  /**
   * The family in use, kept as long as this machine has an address of it: the device receives over one family, and nodes that send
   * over the other one are not heard. An operator who wants another one says so in the annotation or the configuration.
   */
  family?: Family | undefined;
}

/** The underlay as chosen. */
export interface Underlay {
  /** The VXLAN device's `local` address; its family is the family of the underlay. */
  ip: string;
  /** Every underlay address of this node, `ip` first, at most one a family. */
  ips: string[];
  /** Those under which the other nodes reach it, in the same order; `ips` where it is not behind NAT. */
  publicIps?: string[];
  /** The device that has `ip`. */
  device: string;
  ifindex: number;
  /** MTU of that device in bytes; of the physical devices where the address is on loopback. */
  mtu: number;
}

/** The choice, or why there is none yet. */
export type UnderlayResult = { underlay: Underlay } | { missing: string };

interface Candidate {
  ip: string;
  link: Link;
  permanent: boolean;
}

/** Chooses the underlay address. Never throws: whatever is malformed or absent is named in `missing`. */
export function selectUnderlay(input: UnderlayInput): UnderlayResult {
  const candidates = usableAddresses(input.links, input.addresses);
  const override = input.override?.trim();
  if (override) return fromOverride(override, candidates, input.links);
  const { selection } = input;
  if (selection.interface || selection.interfaceRegexp || selection.cidr || selection.canReach) {
    return fromSelection(input, candidates);
  }
  const here = (ip: string): boolean => candidates.some((candidate) => candidate.ip === ip);
  const found = input.internalIps.filter(here);
  if (found.length > 0) return { underlay: chosen(kept(found, input, here), candidates, input.links) };
  if (input.internalIps.length === 0) return { missing: "the Node has no InternalIP yet" };
  return {
    missing:
      `none of the Node's InternalIPs (${input.internalIps.join(", ")}) is on an interface of this machine; ` +
      "set underlay.* in the configuration or the annotation skylane.dev/underlay-ip",
  };
}

/** Addresses with those of the family in use first; the one in use among them where the Node names none of its family for now. */
function kept(all: readonly string[], { family, current }: UnderlayInput, here: (ip: string) => boolean): string[] {
  if (family === undefined) return [...all];
  const [first, other] = [all.filter((ip) => familyOf(ip) === family), all.filter((ip) => familyOf(ip) !== family)];
  const stays = first.length === 0 && current !== undefined && familyOf(current) === family && here(current);
  return [...first, ...(stays ? [current] : []), ...other];
}

/** Addresses that can be a VTEP: unicast, past duplicate detection, and on no device that Skylane made. */
function usableAddresses(links: readonly Link[], addresses: readonly Address[]): Candidate[] {
  const byIndex = new Map(links.map((link) => [link.index, link]));
  const out: Candidate[] = [];
  for (const address of addresses) {
    const link = byIndex.get(address.ifindex);
    if (!link || isOurs(link) || address.tentative || address.dadFailed) continue;
    if (ipScope(address.ip) === "unicast") out.push({ ip: address.ip, link, permanent: address.permanent === true });
  }
  return out.sort((a, b) => a.link.index - b.link.index);
}

const isOurs = (link: Link): boolean => isPodLinkGroup(link.group) || /^sky\.\d+$/.test(link.name);

function fromOverride(text: string, candidates: Candidate[], links: readonly Link[]): UnderlayResult {
  const ips: string[] = [];
  for (const part of text.split(",")) {
    let ip: string;
    try {
      ip = parseIp(part.trim());
    } catch (error) {
      return { missing: `the annotation skylane.dev/underlay-ip is malformed: ${(error as Error).message}` };
    }
    if (ips.some((other) => familyOf(other) === familyOf(ip)))
      return { missing: `the annotation skylane.dev/underlay-ip names two IPv${familyOf(ip)} addresses` };
    if (!candidates.some((candidate) => candidate.ip === ip))
      return {
        missing: `the annotation skylane.dev/underlay-ip names ${ip}, which is on no interface of this machine`,
      };
    ips.push(ip);
  }
  return { underlay: chosen(ips, candidates, links) };
}

function fromSelection(input: UnderlayInput, candidates: Candidate[]): UnderlayResult {
  const { selection, internalIps } = input;
  const criteria: string[] = [];
  let left = candidates;
  const keep = (what: string, fits: (candidate: Candidate) => boolean): void => {
    criteria.push(what);
    left = left.filter(fits);
  };
  const { interface: name, interfaceRegexp, cidr, canReach } = selection;
  if (name) keep(`interface ${name}`, ({ link }) => link.name === name);
  if (interfaceRegexp) {
    let names: string[];
    try {
      names = matchInterfaces(interfaceRegexp, [...new Set(candidates.map(({ link }) => link.name))]);
    } catch (error) {
      return { missing: `underlay.interfaceRegexp: ${(error as Error).message}` };
    }
    keep(`interfaceRegexp ${interfaceRegexp}`, ({ link }) => names.includes(link.name));
  }
  if (cidr) keep(`cidr ${cidr}`, ({ ip }) => cidrContains(cidr, ip));
  if (canReach) {
    const route = input.routeTo(canReach);
    if (route?.ifindex === undefined) return { missing: `underlay.canReach: this machine has no route to ${canReach}` };
    const sameFamily = (ip: string) => familyOf(ip) === familyOf(canReach);
    keep(
      `canReach ${canReach}`,
      ({ ip, link }) => link.index === route.ifindex && (!route.prefSrc || !sameFamily(ip) || ip === route.prefSrc),
    );
  }
  if (left.length === 0)
    return { missing: `no address of this machine fits the configured underlay (${criteria.join(", ")})` };
  const rank = ({ ip, permanent }: Candidate): number => {
    const place = internalIps.indexOf(ip);
    if (place >= 0) return place - internalIps.length;
    return (ip === input.current ? 0 : 1) + (permanent ? 0 : 2);
  };
  const ranked = left.toSorted((a, b) => rank(a) - rank(b));
  const families: Family[] = [...(input.family ? [input.family] : []), ...internalIps.map(familyOf), 4, 6];
  const ips: string[] = [];
  for (const family of new Set(families)) {
    const best = ranked.find(({ ip }) => familyOf(ip) === family);
    if (best) ips.push(best.ip);
  }
  return { underlay: chosen(ips, left, input.links) };
}

function chosen(ips: readonly string[], candidates: readonly Candidate[], links: readonly Link[]): Underlay {
  const onePerFamily = ips.filter((ip, i) => ips.findIndex((other) => familyOf(other) === familyOf(ip)) === i);
  const ip = onePerFamily[0] as string;
  const { link } = candidates.find((candidate) => candidate.ip === ip) as Candidate;
  return { ip, ips: onePerFamily, device: link.name, ifindex: link.index, mtu: pathMtu(link, links) };
}

/** Loopback's MTU says nothing about the way out: a node whose address is routed to it sends through its physical devices. */
function pathMtu(link: Link, links: readonly Link[]): number {
  if (!link.loopback) return link.mtu;
  const physical = links.filter((other) => other.up && !other.loopback && other.kind === undefined);
  return physical.length > 0 ? Math.min(...physical.map((other) => other.mtu)) : 1500;
}
