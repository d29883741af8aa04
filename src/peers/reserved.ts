/**
 * Prefixes to which no route to a peer may lead, whoever gave the peer that prefix: a route through the tunnel that covers the
 * API server, a gateway or a neighbour on the underlay would cut this node off from what it needs to take the route away again.
 * Pure, and the one place where this is decided: for every mode, for peers out of the API server and out of the cache alike.
 */
import { bigIntToIp, cidrContains, cidrOf } from "../addr/index.ts";
import { PrefixIndex, prefixOf } from "./prefix-index.ts";

/** What of the network namespace in which routes to peers stand must stay as it is. All canonical. */
export interface Reserved {
  /** Addresses of the API server, as this node reaches it. */
  readonly apiServer: readonly string[];
  /** Gateways of this node's routes. */
  readonly gateways: readonly string[];
  /** This node's own addresses. */
  readonly own: readonly string[];
  /** Prefixes that this node reaches without a gateway. */
  readonly onLink: readonly string[];
  /** The Services' CIDRs. */
  readonly services: readonly string[];
  /** Pods' CIDRs as a whole: the cluster's, where it is configured, and those of pod networks. */
  readonly pods: readonly string[];
  /** This node's own pod CIDRs of the network. */
  readonly podCidrs: readonly string[];
}

/** Nothing is reserved: in a network namespace that has pods alone. */
export const NOTHING_RESERVED: Reserved = {
  apiServer: [],
  gateways: [],
  own: [],
  onLink: [],
  services: [],
  pods: [],
  podCidrs: [],
};

interface Place {
  /** In words that go on with "this node's pod CIDR …". */
  readonly what: string;
  /** How bad: of several, the first kind is named. */
  readonly rank: number;
  /** Prefixes inside of it are not in its way. */
  readonly spares: boolean;
  readonly length: number;
}

/** Of each set of facts one index, since thousands of peers are held against the same. */
const indexes = new WeakMap<Reserved, PrefixIndex<Place>>();

function indexOf(reserved: Reserved): PrefixIndex<Place> {
  const known = indexes.get(reserved);
  if (known) return known;
  const index = new PrefixIndex<Place>();
  const kinds: [list: readonly string[], what: string][] = [
    [reserved.apiServer, "the API server's address"],
    [reserved.gateways, "the gateway"],
    [reserved.own, "this node's own address"],
    [reserved.services, "the Services' CIDR"],
    [reserved.onLink, "the on-link prefix"],
  ];
  // Where this node's own pods are inside a prefix that is on the link, so are all nodes': a LAN of 10.0.0.0/8 with pods in a part of it.
  const holdsPods = new PrefixIndex<string>();
  for (const cidr of reserved.podCidrs) holdsPods.add(prefixOf(cidr), cidr);
  for (const [rank, [list, what]] of kinds.entries()) {
    for (const one of list) {
      const prefix = prefixOf(one);
      let spares = false;
      if (list === reserved.onLink)
        holdsPods.overlapping(prefix, (cidr) => (spares ||= prefixOf(cidr).length >= prefix.length));
      index.add(prefix, { what: `${what} ${one}`, rank, spares, length: prefix.length });
    }
  }
  indexes.set(reserved, index);
  return index;
}

/**
 * Why no route to a peer may lead to a prefix, in words that go on with "it covers …"; undefined when one may.
 * @param prefix canonical, or a single address
 */
export function reservedWithin(prefix: string, reserved: Reserved): string | undefined {
  const asked = prefixOf(prefix);
  let found: Place | undefined;
  indexOf(reserved).overlapping(asked, (place) => {
    if (place.spares && asked.length > place.length) return;
    if (!found || place.rank < found.rank) found = place;
  });
  return found?.what;
}

/** What addresses of hosts are from; some clusters use 240.0.0.0/4 all the same (RFC 1112, section 4; RFC 4291, section 2.4). */
const GIVEN_OUT = ["0.0.0.0/1", "128.0.0.0/2", "192.0.0.0/3", "2000::/3", "fc00::/7"];

/**
 * Why no node can be at an underlay address, in words that go on with "it is …"; undefined when one can. The API server and a gateway may
 * be nodes, too: then the Node's kubelet reports that very address. Services' and pods' CIDRs in which this very node is count for nothing: a
 * cluster that is laid out so must not lose its peers by it.
 * @param reported the Node's `status.addresses`. @param here this node's underlay address
 */
export function misplacedVtep(
  ip: string,
  reserved: Reserved,
  reported: readonly string[],
  here: string,
): string | undefined {
  const inOne = (cidrs: readonly string[]): string | undefined =>
    cidrs.find((cidr) => cidrContains(cidr, ip) && !cidrContains(cidr, here));
  const services = inOne(reserved.services);
  if (services !== undefined) return `an address of Services, of ${services}`;
  if (!reported.includes(ip)) {
    const pods = inOne(reserved.pods);
    if (pods !== undefined) return `an address of pods, of ${pods}, and the Node's status.addresses do not have it`;
    if (!GIVEN_OUT.some((prefix) => cidrContains(prefix, ip))) return "of a range that is given to nobody";
    if (reserved.apiServer.includes(ip)) return "the API server's, and the Node's status.addresses do not have it";
    if (reserved.gateways.includes(ip)) return "a gateway's, and the Node's status.addresses do not have it";
  }
  for (const prefix of reserved.onLink) {
    const { family, prefix: length, first, last } = cidrOf(prefix);
    // Prefixes of two addresses have neither (RFC 3021), and IPv6 has no broadcast.
    if (family !== 4 || length > 30 || !cidrContains(prefix, ip)) continue;
    if (ip === bigIntToIp(last, 4)) return `the broadcast address of ${prefix}`;
    if (ip === bigIntToIp(first, 4)) return `the network address of ${prefix}`;
  }
  return undefined;
}
