/**
 * What the agent publishes about a pod network for the CNI plugin, under /run/skylane/<network>.json: the
 * plugin needs nothing else, neither the agent nor the API server. Types only here; reading and writing
 * stand beside it.
 */

/** Version of the file's layout; a plugin refuses a layout that it does not know. */
export const PUBLISHED_VERSION = 1;

/** One pod network on this node. */
export interface PublishedNetwork {
  version: typeof PUBLISHED_VERSION;
  /** Pod network name, "default" for the default one. */
  network: string;
  /** This node's name, as in its Node object. */
  node: string;
  vni: number;
  /** VXLAN device: `sky.<vni>`. */
  device: string;
  /** MTU of the pods' interfaces, in bytes. */
  mtu: number;
  /** This node's pod CIDRs, canonical, one or two (at most one a family). */
  podCidrs: string[];
  /** The whole cluster's pod CIDRs; may be empty where not configured. */
  clusterCidrs: string[];
}
