/**
 * The operations that make a veth pair a pod's link: pure, in the order in which the kernel needs them.
 *
 * The pod's addresses are /32 and /128 and everything goes through a link-local gateway, so neighbouring pods are
 * reached like any other: routed by the node. The pod knows the gateway's MAC from the start (permanent neighbours)
 * and never asks for it. The node finds a pod by a host route, and its MAC by a neighbour that has its place from the start
 * (neighbours.ts).
 *
 * A chained plugin may change the pod's MAC (tuning does), and with that the kernel forgets the pod's neighbours, permanent
 * ones too. So the host end has the gateways' addresses and answers for them: fe80::1 with scope link, as IPv6 needs it,
 * and 169.254.1.1 with scope host, which the kernel never chooses as the source of a packet.
 *
 * IPv6 addresses skip duplicate address detection, which would keep them unusable for a second. Link-local addresses
 * are set by hand for the same reason: one that the kernel makes by itself goes through it.
 */
import { addressBits, EVERYTHING, familyOf, linkLocalOf, hostPrefix } from "../../addr/index.ts";
import { type Creation, type Operation, ROUTE_PROTOCOL, type Route } from "../../netlink/index.ts";
import { SOURCE_TABLE, sourceOperations } from "./by-source.ts";
import { HOST_END } from "./host-end/host-end.ts";
import type { HostSources } from "./host-end/host-sources.ts";
import { GATEWAY, HOST_MAC } from "./names.ts";

/** rtnetlink scopes (rtnetlink(7)). */
export const SCOPE_LINK = 253;
const SCOPE_HOST = 254;
/** NUD_NONE (linux/neighbour.h): the MAC is not known, and is asked for when it is needed. */
const NUD_NONE = 0;

/** What both ends' operations depend on. */
export interface EndPlan {
  /** Index of this end in its namespace. */
  index: number;
  addresses: readonly string[];
  /** Whether this end has IPv6 at all (the kernel may be without). */
  ipv6: boolean;
}

/** What the pod's end depends on besides. */
export interface PodEndPlan extends EndPlan {
  mac: string;
  destinations?: readonly string[] | undefined;
  /** See {@link PodLinkSpec.bySource}. */
  bySource?: boolean | undefined;
  /** See {@link PodLinkSpec.sourceTable}. */
  sourceTable?: number | undefined;
}

/**
 * The pair, made in the sandbox with its peer in the namespace of `hostFd`: neither end ever moves. A pair uses one queue unless
 * somebody asks for more, which nothing here does; on a machine of many processors the others cost memory and time.
 */
export function pairOperation(o: {
  ifname: string;
  podMac: string;
  hostIfname: string;
  hostFd: number;
  mtu: number;
}): Creation {
  const peer = { name: o.hostIfname, mtu: o.mtu, ...HOST_END, netnsFd: o.hostFd };
  return {
    op: "add",
    kind: "link",
    link: { kind: "veth", name: o.ifname, mac: o.podMac, mtu: o.mtu, queues: 1, peer },
  };
}

/** How the host end has the gateways' addresses. */
export const GATEWAY_ADDRESS = {
  4: { prefix: 32, scope: SCOPE_HOST },
  // Of its prefix nothing but the pod's own address is on the link: that has a route of its own.
  6: { prefix: 64, scope: SCOPE_LINK, nodad: true, noPrefixRoute: true },
} as const;

/** The way from the host to a pod's address. @param ifindex of the host end. @param sources see host-sources.ts */
export function hostRoute(ip: string, ifindex: number, sources: HostSources = {}): Route {
  const family = familyOf(ip);
  const prefSrc = sources[family];
  const route = { family, dst: hostPrefix(ip), ifindex, scope: SCOPE_LINK, protocol: ROUTE_PROTOCOL };
  return prefSrc === undefined ? route : { ...route, prefSrc };
}

/** The neighbour of a pod that is being made: see neighbours.ts. */
export const newNeighbour = (ip: string, ifindex: number): Operation => ({
  op: "replace",
  kind: "neighbour",
  neighbour: { ifindex, ip, state: NUD_NONE, external: true },
});

/** The host end: up, and the pod's gateways. */
export function hostOperations({ index, addresses, ipv6, alias }: EndPlan & { alias: string }): Operation[] {
  const operations: Operation[] = [
    { op: "set", kind: "link", link: { index, alias, ...(ipv6 && { addrGenMode: "none" as const }) } },
    { op: "set", kind: "link", link: { index, up: true } },
  ];
  for (const ip of addresses) {
    const family = familyOf(ip);
    const gateway = { ifindex: index, ip: GATEWAY[family], ...GATEWAY_ADDRESS[family] };
    operations.push({ op: "add", kind: "address", address: gateway });
  }
  return operations;
}

/**
 * The way to the pod: a neighbour and a route for each of its addresses, unless it is on standby. Its link-local address is among them: no
 * other is heard there. It comes when both ends are whole: a packet that finds it sooner has the kernel ask for the pod's MAC in vain, and not
 * again for a second, in which the pod is reached by nobody.
 */
export function wayOperations(
  o: Pick<EndPlan, "index" | "addresses"> & {
    podMac: string;
    standby?: boolean | undefined;
    sources?: HostSources | undefined;
  },
): Operation[] {
  const { index, addresses, podMac, standby = false, sources } = o;
  return addresses.flatMap((ip) => {
    const reached = [...(standby ? [] : [ip]), ...(familyOf(ip) === 6 ? [linkLocalOf(podMac)] : [])];
    return reached.flatMap((one): Operation[] => [
      newNeighbour(one, index),
      { op: "add", kind: "route", route: hostRoute(one, index, one === ip ? sources : {}) },
    ]);
  });
}

/**
 * The pod's end: up, its addresses, its gateways' MAC, and routes through them to its destinations; by default everything.
 * A pod may have several interfaces, all with the same gateways: routes to destinations name their gateway as
 * reachable on this link, as there can be one route to 169.254.1.1 only. The one to everything by default has it, and else the one that is
 * routed by source.
 */
export function podOperations(o: PodEndPlan): Operation[] {
  const { index, addresses, ipv6, mac, destinations, bySource, sourceTable } = o;
  const operations: Operation[] = [];
  if (ipv6) operations.push({ op: "set", kind: "link", link: { index, addrGenMode: "none" } });
  operations.push({ op: "set", kind: "link", link: { index, up: true } });
  for (const ip of addresses) {
    const family = familyOf(ip);
    const gateway = GATEWAY[family];
    if (family === 6) {
      const linkLocal = { ifindex: index, ip: linkLocalOf(mac), prefix: 64, scope: SCOPE_LINK, nodad: true };
      operations.push({ op: "add", kind: "address", address: linkLocal });
    }
    const address = { ifindex: index, ip, prefix: addressBits(family), ...(family === 6 && { nodad: true }) };
    operations.push({ op: "add", kind: "address", address });
    operations.push({ op: "add", kind: "neighbour", neighbour: { ifindex: index, ip: gateway, mac: HOST_MAC } });
    if (family === 4 && (!destinations || (bySource && sourceTable === undefined))) {
      const toGateway = { family, dst: hostPrefix(gateway), ifindex: index, scope: SCOPE_LINK };
      operations.push({ op: "add", kind: "route", route: toGateway });
    }
    for (const dst of destinations?.filter((one) => familyOf(one) === family) ?? []) {
      const route = { family, dst: routeTo(dst), gateway, ifindex: index, onlink: true };
      operations.push({ op: "add", kind: "route", route });
    }
    if (!destinations)
      operations.push({ op: "add", kind: "route", route: { family, dst: "default", gateway, ifindex: index } });
    if (bySource) operations.push(...sourceOperations(ip, index, sourceTable ?? SOURCE_TABLE));
  }
  return operations;
}

/** A destination as the kernel's routes have it. */
export const routeTo = (dst: string): string => (dst === EVERYTHING[familyOf(dst)] ? "default" : dst);
