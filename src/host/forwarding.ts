/**
 * Forwarding: pods reach nothing outside their node while the kernel does not forward. Switching IPv6
 * forwarding on costs a host its default route where that came from router advertisements: the kernel then
 * purges such routes and hears accept_ra=1 as "no" (Documentation/networking/ip-sysctl.rst, accept_ra;
 * net/ipv6/route.c, rt6_purge_dflt_routers). accept_ra=2 means "also while forwarding", and set before
 * the switch nothing is lost. What to write is planned purely from what is there; the same plan on
 * a timer repairs what somebody else's sysctl --system put back.
 */
import { type Address, isPodLinkGroup, type Link, type Route } from "../netlink/index.ts";
import { familyOf, ipScope } from "../addr/index.ts";
import { readSysctl, writeSysctl } from "../sys/index.ts";

/** RTPROT_RA, linux/rtnetlink.h: a route learned from a router advertisement. */
export const PROTOCOL_RA = 9;

/** A device as far as forwarding is concerned; sysctl values as the kernel prints them, undefined where there is none. */
export interface ForwardingLink {
  name: string;
  /** It has addresses or routes from router advertisements. */
  usesRa: boolean;
  /** A device of no virtual kind: what a node's uplink is outside of laboratories. */
  physical: boolean;
  /** A VXLAN device of Skylane. */
  overlay: boolean;
  acceptRa?: string | undefined;
  forwarding4?: string | undefined;
  forwarding6?: string | undefined;
}

/** The node's forwarding as it is. */
export interface ForwardingState {
  /** net.ipv4.ip_forward */
  ipv4?: string | undefined;
  /** net.ipv6.conf.all.forwarding; undefined where the kernel has no IPv6. */
  ipv6?: string | undefined;
  links: readonly ForwardingLink[];
}

/** One sysctl to write. */
export interface SysctlWrite {
  key: string;
  value: string;
}

/** What to write, in this order, for the node to forward both families and lose nothing by it. */
export function planForwarding(state: ForwardingState): SysctlWrite[] {
  const writes: SysctlWrite[] = [];
  if (state.ipv6 !== undefined) {
    for (const link of state.links) {
      const hearsNow = state.ipv6 === "0" && link.physical && link.forwarding6 !== "1";
      if (link.acceptRa === "1" && !link.overlay && (link.usesRa || hearsNow)) {
        writes.push({ key: `net.ipv6.conf.${link.name}.accept_ra`, value: "2" });
      }
    }
    if (state.ipv6 !== "1") writes.push({ key: "net.ipv6.conf.all.forwarding", value: "1" });
  }
  if (state.ipv4 !== undefined && state.ipv4 !== "1") writes.push({ key: "net.ipv4.ip_forward", value: "1" });
  for (const link of state.links.filter(({ overlay }) => overlay)) {
    if (state.ipv4 === "1" && link.forwarding4 === "0")
      writes.push({ key: `net.ipv4.conf.${link.name}.forwarding`, value: "1" });
    if (state.ipv6 === "1" && link.forwarding6 === "0")
      writes.push({ key: `net.ipv6.conf.${link.name}.forwarding`, value: "1" });
  }
  return writes;
}

/** Reads the node's forwarding; pod links are left out, their settings are the plugin's. */
export function readForwarding(
  links: readonly Link[],
  addresses: readonly Address[],
  routes6: readonly Route[],
): ForwardingState {
  const ra = new Set<number | undefined>();
  for (const { ip, ifindex, permanent } of addresses)
    if (familyOf(ip) === 6 && !permanent && ipScope(ip) === "unicast") ra.add(ifindex);
  for (const { protocol, ifindex } of routes6) if (protocol === PROTOCOL_RA) ra.add(ifindex);
  return {
    ipv4: readSysctl("net.ipv4.ip_forward"),
    ipv6: readSysctl("net.ipv6.conf.all.forwarding"),
    links: links
      .filter((link) => !link.loopback && !isPodLinkGroup(link.group))
      .map((link) => ({
        name: link.name,
        usesRa: ra.has(link.index),
        physical: link.kind === undefined,
        overlay: /^sky\.\d+$/.test(link.name),
        acceptRa: readSysctl(`net.ipv6.conf.${link.name}.accept_ra`),
        forwarding4: readSysctl(`net.ipv4.conf.${link.name}.forwarding`),
        forwarding6: readSysctl(`net.ipv6.conf.${link.name}.forwarding`),
      })),
  };
}

/**
 * Makes the node forward. @returns what was written; empty means that it already did.
 * @throws SysError when a key cannot be written (a read-only /proc/sys: the agent's container must be privileged).
 */
export function ensureForwarding(state: ForwardingState): SysctlWrite[] {
  const writes = planForwarding(state);
  for (const { key, value } of writes) writeSysctl(key, value);
  return writes;
}
