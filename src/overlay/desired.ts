/**
 * Desired state: what the kernel should hold, as a function of who we are and who our peers are.
 *
 * The address at which a node's VXLAN device answers inside the overlay (its VTEP address) is the network address
 * of its pod CIDR: no pod ever gets it, every node can work out every other's, and no further pool is needed.
 * Only families in which this node has pods itself are programmed: without a VTEP address of our own there
 * would be no source address that a peer could answer to.
 */
import { type Family, familyOf } from "../addr/index.ts";
import {
  type DesiredFdb,
  type DesiredNeighbour,
  type DesiredRoute,
  type DesiredState,
  entryKey,
  type LocalNetwork,
  type Peer,
} from "./types.ts";

/** The alias by which a VXLAN device says to which pod network it belongs. */
export const deviceAlias = (network: string): string => `${DEVICE_ALIAS_PREFIX}${network}`;
/** What the alias of every VXLAN device of Skylane's begins with. */
export const DEVICE_ALIAS_PREFIX = "skylane network ";

/** The network address of a canonical prefix: its text says it, and this is asked for every peer at every change. */
const networkAddress = (cidr: string): string => cidr.slice(0, cidr.indexOf("/"));

/** Builds the desired state. Peers must not conflict with each other (see selectPeers). */
export function desiredState(local: LocalNetwork, peers: readonly Peer[]): DesiredState {
  const addresses = new Map<string, { ip: string }>();
  const fdb = new Map<string, DesiredFdb>();
  const neighbours = new Map<string, DesiredNeighbour>();
  const routes = new Map<string, DesiredRoute>();
  const owners = new Map<string, string>();
  const source = new Map<Family, string>();
  for (const cidr of local.podCidrs) {
    const ip = networkAddress(cidr);
    addresses.set(ip, { ip });
    owners.set(entryKey("address", ip), local.node);
    if (!source.has(familyOf(ip))) source.set(familyOf(ip), ip);
  }
  for (const { node, mac, underlayIp, podCidrs, vni, port } of peers) {
    fdb.set(mac, { mac, dst: underlayIp, ...differing("vni", vni, local.vni), ...differing("port", port, local.port) });
    owners.set(entryKey("fdb", mac), node);
    for (const dst of podCidrs) {
      const prefSrc = source.get(familyOf(dst));
      if (prefSrc === undefined) continue;
      const gateway = networkAddress(dst);
      neighbours.set(gateway, { ip: gateway, mac });
      routes.set(dst, { dst, gateway, prefSrc });
      owners.set(entryKey("neighbour", gateway), node);
      owners.set(entryKey("route", dst), node);
    }
  }
  const { device: name, vni, port, mac, mtu, underlayIp, network, txChecksum = "auto" } = local;
  const device = { name, vni, port, local: underlayIp, mac, mtu, alias: deviceAlias(network), txChecksum };
  return { device, addresses, fdb, neighbours, routes, owners };
}

function differing<K extends "vni" | "port">(key: K, value: number | undefined, own: number): { [key in K]?: number } {
  return value === undefined || value === own ? {} : ({ [key]: value } as { [key in K]?: number });
}
