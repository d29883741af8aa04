/**
 * The rules of a pod network with a network namespace of its own, which stand in two tables of the same making: one in the
 * host's namespace and one in the network's.
 *
 * - The host has the underlay: it lets VXLAN with the network's VNI in from the network's peers alone, and has no other rule
 *   about it. The network's CIDRs are no concern of the host's table, where they could be another network's.
 * - The network's namespace has the pods: each may send only from its own addresses, and nothing from the overlay may claim to be
 *   one of them. No peer is let in here: there is no underlay from which VXLAN could come.
 *
 * Nothing leaves the namespace otherwise, and nothing is masqueraded, unless the network has an uplink (uplink.ts).
 */
import type { PeerSource } from "./inner-source.ts";
import type { NetworkRules, PeerPort } from "./ruleset.ts";

const NO_MASQUERADE = { enabled: false, exclude: [] } as const;

/** What of the network's rules is said of a network, whichever of the two tables they are for. */
export type IsolatedNetwork = Pick<NetworkRules, "network" | "vni" | "port">;

/**
 * The rules for the host's table. @param peers read whenever they are rendered, as peers come and go in between: their
 * underlay addresses, and VXLAN ports of those that use another than ours. @param uplink whether the network has one
 */
export function tunnelRules(
  { network, vni, port }: IsolatedNetwork,
  peers: () => { ips: readonly string[]; ports?: readonly PeerPort[] },
  uplink = false,
  sources?: () => readonly PeerSource[],
): NetworkRules {
  return {
    network,
    vni,
    port,
    get peers() {
      return peers().ips;
    },
    get peerPorts() {
      return peers().ports ?? [];
    },
    podCidrs: [],
    clusterCidrs: [],
    masquerade: NO_MASQUERADE,
    ...(sources && { sources }),
    ...(uplink && { uplink: "host" }),
  };
}

/**
 * The rules for the table in the network's own namespace. @param podCidrs this node's, or its blocks
 * @param outside of which addresses the network's uplink leads; absent where it has none
 * @param tracked connections are followed there, although no rule depends on it
 */
export const namespaceRules = (
  { network, vni, port }: IsolatedNetwork,
  podCidrs: readonly string[],
  outside?: readonly string[],
  tracked = false,
): NetworkRules => ({
  network,
  vni,
  port,
  peers: [],
  podCidrs,
  hostRoutes: true,
  clusterCidrs: outside ?? [],
  masquerade: NO_MASQUERADE,
  ...(outside && { uplink: "network" }),
  ...(tracked && { tracked }),
});
