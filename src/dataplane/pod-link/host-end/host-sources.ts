/**
 * From which address the host itself speaks to pods: that of the overlay's device, as in its routes to pods of other nodes. Without
 * one named in the route the kernel takes the node's own address, and then policy routing looks for the way back to the pod by
 * it: rules such as `from <node address> lookup N`, which nm-cloud-setup and multi-homed hosts have, send the packet out of the
 * uplink (ip_route_output_key is asked again with the source that it has chosen, ip_route_connect in include/net/route.h).
 */
import { addressBits, type Family, familyOf } from "../../../addr/index.ts";
import { type Address, type Link, OVERLAY_LINK_GROUP } from "../../../netlink/index.ts";

/** At most one a family. */
export type HostSources = Readonly<Partial<Record<Family, string>>>;

/** The first of each family among addresses. */
export function sourcesOf(ips: readonly string[]): HostSources {
  const sources: Partial<Record<Family, string>> = {};
  for (const ip of ips) sources[familyOf(ip)] ??= ip;
  return sources;
}

/** What a namespace has for it now; the kernel takes no other in a route. */
export function hostSources(links: readonly Link[], addresses: readonly Address[]): HostSources {
  const overlay = new Set(links.filter(({ group }) => group === OVERLAY_LINK_GROUP).map(({ index }) => index));
  const there = addresses.filter(
    ({ ifindex, ip, prefix }) => overlay.has(ifindex) && prefix === addressBits(familyOf(ip)),
  );
  return sourcesOf(there.map(({ ip }) => ip));
}
