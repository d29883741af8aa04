/**
 * Pod networks whose addresses are the cluster's: a pod's route to such a network would lead what the pod sends to another pod, a
 * Service or a node into the network. Pure, from the definitions and what the cluster's own addresses are.
 */
import { cidrContains } from "../addr/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { type PodNetworkInfo } from "../crd/index.ts";
import { PrefixIndex, prefixOf } from "../peers/index.ts";
import { type Elsewhere, type Inputs, reservedHere, type ReservedInput } from "../nodes/index.ts";

/** The cluster's own addresses, canonical. */
export interface ClusterAddresses {
  /** All pods' of the default network, where they are configured; a Node's own follow from the Node. */
  pods: readonly string[];
  services: readonly string[];
  /** Prefixes of the nodes' own network, as far as this node is on it. */
  segments: readonly string[];
  nodes: Iterable<{ name: string; addresses: readonly string[]; podCidrs: readonly string[] }>;
}

/** The cluster's own addresses as this node sees them. @param elsewhere what does not follow from the machine */
export function clusterAddresses(
  config: Pick<AgentConfig, "clusterCidrs" | "serviceCidrs">,
  { own, nodes }: Inputs,
  machine: ReservedInput,
  elsewhere: Elsewhere,
): ClusterAddresses {
  const { onLink } = reservedHere(machine, elsewhere, own.podCidrs);
  return {
    pods: config.clusterCidrs,
    services: [...config.serviceCidrs, ...elsewhere.services],
    // The segment that a node's own address is on; others are the machine's own affair.
    segments: onLink.filter((one) => own.internalIps.some((ip) => cidrContains(one, ip))),
    nodes: Iterator.from(nodes).map(({ name, granted }) => ({
      name,
      addresses: granted?.addresses ?? (name === own.name ? own.internalIps : []),
      podCidrs: granted?.podCidrs ?? (name === own.name ? own.podCidrs : []),
    })),
  };
}

/** Why networks may not be, by name, in words. */
export function overlapsWithCluster(
  networks: Iterable<PodNetworkInfo>,
  { pods, services, segments, nodes }: ClusterAddresses,
): Map<string, string> {
  const index = new PrefixIndex<{ network: string; cidr: string }>();
  const found = new Map<string, string>();
  for (const { name, cidrs } of networks) for (const cidr of cidrs) index.add(prefixOf(cidr), { network: name, cidr });
  const look = (prefix: string, what: () => string): void =>
    index.overlapping(prefixOf(prefix), ({ network, cidr }) => {
      if (found.has(network)) return;
      const why = `PodNetwork ${network} has ${cidr}, which overlaps with ${what()}: its pods could not reach them`;
      found.set(network, `${why}; delete it and make it again with other cidrs`);
    });
  for (const one of pods) look(one, () => `the addresses of the default network's pods, ${one} (clusterCidrs)`);
  for (const one of services) look(one, () => `the addresses of Services, ${one}`);
  for (const one of segments) look(one, () => `the nodes' own network, ${one}`);
  for (const { name, addresses, podCidrs } of nodes) {
    for (const one of addresses) look(one, () => `the address of node ${name}, ${one}`);
    for (const one of podCidrs) look(one, () => `the addresses of node ${name}'s pods, ${one}`);
  }
  return found;
}
