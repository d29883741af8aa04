/**
 * Where an address leads on this node, when more than one may say so: to a pod here, to another node, or nowhere. One decision for all of
 * them, from which the overlay's reconciler, the only one that writes these routes, has its entries; so no two writers can want an
 * address for different places. Pure: what is decided follows from what is known now, not from what was done before.
 */
import type { OwnedEndpoint } from "../endpoints/index.ts";
import type { AddressesHere } from "../dataplane/vxlan/index.ts";
import type { PodPort } from "../workloads/index.ts";

/** What is known. */
export interface PlacesInput {
  /** Our own Node's name. */
  node: string;
  /** Pods here with a claim, by host end. */
  ports: ReadonlyMap<string, Pick<PodPort, "ifindex" | "mac" | "ips">>;
  /** MACs of those whose addresses are here, and no other node's any more. */
  held: ReadonlySet<string>;
  /** Host ends whose pods have a MAC address that is another's. */
  refused: ReadonlySet<string>;
  /** Addresses of links that are being made, by host end. */
  arriving: ReadonlyMap<string, readonly string[]>;
  /** Who has what, over all nodes. */
  owners: Iterable<Pick<OwnedEndpoint, "node" | "ips">>;
  /** A pod here that has an address without a claim: the index of its host end, or "unknown". */
  ordinary: (ip: string, node: string) => number | "unknown" | undefined;
}

/** What follows: no address is in two of these. */
export interface AddressPlaces extends AddressesHere {
  /** Addresses that lead to other nodes, by node. */
  elsewhere: ReadonlyMap<string, readonly string[]>;
}

export const NO_PLACES: AddressPlaces = { pods: new Map(), vacant: new Set(), elsewhere: new Map() };

/**
 * Decides. First comes the pod here that has an address: by a claim, as this node publishes it, or without one, when another node says
 * that it has it all the same. Then an ADD that is on its way, whose plugin makes the route itself and must find nothing in its place:
 * nothing is decided until there is a link, and then it leads to that. Then the node that publishes it. What is left are addresses of pods
 * on standby, and of those that lost a claim that nobody has now: nothing leads to them.
 */
export function placesOf({ node, ports, held, refused, arriving, owners, ordinary }: PlacesInput): AddressPlaces {
  const pods = new Map<string, number>();
  const standby: string[] = [];
  for (const [name, { ifindex, mac, ips }] of ports) {
    const here = arriving.has(name) || (held.has(mac) && !refused.has(name));
    for (const ip of ips) {
      if (!here) standby.push(ip);
      else if (!pods.has(ip)) pods.set(ip, ifindex);
    }
  }
  const undecided = new Set([...arriving.values()].flat());
  const taken = new Set<string>();
  const elsewhere = new Map<string, string[]>();
  for (const { node: other, ips } of owners) {
    if (other === node) continue;
    for (const ip of ips) {
      if (pods.has(ip) || undecided.has(ip)) continue;
      const end = ordinary(ip, other);
      if (typeof end === "number") pods.set(ip, end);
      if (end !== undefined) continue;
      taken.add(ip);
      const list = elsewhere.get(other);
      if (list) list.push(ip);
      else elsewhere.set(other, [ip]);
    }
  }
  const vacant = new Set(standby.filter((ip) => !pods.has(ip) && !undecided.has(ip) && !taken.has(ip)));
  return { pods, vacant, elsewhere };
}

/** Whether the same is here. */
export const samePlacesHere = (a: AddressesHere, b: AddressesHere): boolean =>
  a.pods.size === b.pods.size &&
  a.vacant.size === b.vacant.size &&
  a.pods.entries().every(([ip, ifindex]) => b.pods.get(ip) === ifindex) &&
  a.vacant.values().every((ip) => b.vacant.has(ip));
