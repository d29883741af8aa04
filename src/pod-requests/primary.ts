/**
 * A pod whose default route leads into a pod network: what goes there, and what stays with its first interface. That one keeps
 * what makes it a pod of the cluster: other pods, services and its node (docs/adr/0022-primary-network.md).
 */
import { cidrsOverlap, EVERYTHING, FAMILIES, type Family, familyOf, hostPrefix } from "../addr/index.ts";
import { CniError, CODE, type AdditionalInterface, type Prepared } from "../cni/index.ts";
import type { AgentConfig } from "../config/index.ts";
import { type PodNetworkInfo, SelectionError } from "../crd/index.ts";
import type { OwnFacts } from "../nodes/index.ts";

/** What is known of the cluster, which is reached through the default network. */
export interface Cluster {
  config: Pick<AgentConfig, "network" | "clusterCidrs"> & { serviceCidrs: readonly string[] };
  /** Undefined while nothing is known of this node. */
  own: Pick<OwnFacts, "podCidrs" | "internalIps"> | undefined;
}

/**
 * Turns a pod's default route, in the families that the network has.
 * @param additional the pod's additional interfaces, one of them in that network
 * @throws SelectionError, CniError when the network cannot be a pod's primary one
 */
export function withPrimary(
  additional: readonly AdditionalInterface[],
  network: PodNetworkInfo,
  cluster: Cluster,
): Prepared {
  const { name, cidrs, mode } = network;
  if (mode === "Bridged")
    throw new SelectionError(
      `network "${name}" is Bridged and has no gateway, so that no default route can lead into it`,
    );
  if (cluster.config.serviceCidrs.length === 0)
    throw new CniError(
      CODE.notAllowed,
      "its primary network cannot be told from the cluster: nobody says which addresses Services have, DNS among them",
      "Name them in serviceCidrs of the agents' configuration, and of the Helm chart; Kubernetes 1.33 and later says so itself.",
    );
  const turned = FAMILIES.filter((family) => cidrs.some((cidr) => familyOf(cidr) === family));
  const kept = turned.flatMap((family) => clusterOf(family, cluster));
  refuseOverlap(network, kept, cluster.config.network);
  const everything = turned.map((family) => EVERYTHING[family]);
  return {
    additional: additional.map((one) => (one.network === name ? { ...one, destinations: everything } : one)),
    destinations: FAMILIES.flatMap((family) =>
      turned.includes(family) ? clusterOf(family, cluster) : [EVERYTHING[family]],
    ),
  };
}

/** What of the cluster is in a family. @throws CniError when nobody has said what it is */
function clusterOf(family: Family, { config: { clusterCidrs, serviceCidrs }, own }: Cluster): string[] {
  if (!own) throw new CniError(CODE.tryAgain, "nothing is known of this node yet", "The API server must answer first.");
  const { podCidrs, internalIps } = own;
  const ofFamily = (list: readonly string[]): string[] => list.filter((one) => familyOf(one) === family);
  // The default network gives the pod no address of this family, so nothing of it is reached there.
  if (ofFamily(podCidrs).length === 0) return [];
  const pods = ofFamily(clusterCidrs);
  if (pods.length === 0)
    throw new CniError(
      CODE.notAllowed,
      `its primary network cannot be told from the cluster: clusterCidrs has no IPv${family} prefix`,
      "Name the cluster's pod CIDRs in clusterCidrs of the agents' configuration (podCidr in the Helm chart), and its Services' in serviceCidrs.",
    );
  return [...new Set([...pods, ...ofFamily(serviceCidrs), ...ofFamily(internalIps).map(hostPrefix)])];
}

/** The same destination cannot be on both interfaces. */
function refuseOverlap({ name, cidrs }: PodNetworkInfo, kept: readonly string[], defaultNetwork: string): void {
  const common = cidrs.find((cidr) => kept.some((one) => cidrsOverlap(cidr, one)));
  if (common === undefined) return;
  throw new SelectionError(
    `network "${name}" has ${common}, where the cluster's pods, services or this node are in network "${defaultNetwork}": it cannot be a pod's primary one`,
  );
}
