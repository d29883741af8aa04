/**
 * The words of a pod's link as plain data.
 */
import type { Family } from "../../addr/index.ts";
import type { Route } from "../../netlink/index.ts";

/** A bridge that a host end is a port of: the pod is in one subnet with others, and has no gateway. */
export interface PodBridge {
  /** Name of the bridge, in the namespace of the host end. */
  name: string;
  /** Length of the subnet's prefix, for each family of which the pod has an address. */
  prefixLengths: Readonly<Partial<Record<Family, number>>>;
}

/** What link to make. */
export interface PodLinkSpec {
  /** Path of the sandbox's network namespace. */
  netns: string;
  /** Name of the interface in the sandbox. */
  ifname: string;
  containerId: string;
  /** What the host end is called for people: `<namespace>/<pod>/<ifname>`. */
  alias: string;
  /** In bytes, of both ends. */
  mtu: number;
  /** Canonical addresses, one a family at most. */
  addresses: readonly string[];
  /** MAC address of the pod's end; derived from container ID and interface name by default. */
  mac?: string;
  /** Name of the host end; {@link hostIfname} by default. */
  hostIfname?: string;
  /** What the pod reaches through this interface, as canonical prefixes; everything by default. */
  destinations?: readonly string[];
  /**
   * Whether what the pod sends from this interface's addresses leaves through it wherever it goes, destinations or not: it is
   * answers to what came in here.
   */
  bySource?: boolean;
  /** The routing table for that, where it is the interface's own; the pod's gateway then has no route in the main one. */
  sourceTable?: number;
  /** Makes the host end a port of a bridge instead of the pod's gateway. */
  bridge?: PodBridge;
  /**
   * Another pod has the addresses until this one sends from them: no route leads to it yet, so that nothing is sent to it and nothing
   * that it sends is let in. A bridge sees to that by itself.
   */
  standby?: boolean;
  /** Path of the network namespace for the host end; that of the calling thread by default. */
  hostNetns?: string;
  /** Addresses from which the host speaks to the pod, one a family at most (see host-sources.ts); the kernel chooses by default. */
  hostSources?: readonly string[];
}

/** The link that was made. */
export interface PodLink {
  hostIfname: string;
  hostMac: string;
  ifname: string;
  podMac: string;
  addresses: string[];
  /** The pod's gateways, in the addresses' order: 169.254.1.1 and fe80::1; none on a bridge. */
  gateways: string[];
}

/** What a link should be like; absent keys are not looked at. */
export interface PodLinkExpectation
  extends Pick<PodLinkSpec, "netns" | "ifname" | "containerId" | "addresses" | "bridge"> {
  mtu?: number;
  hostNetns?: string;
  destinations?: readonly string[];
  bySource?: boolean;
  sourceTable?: number;
  /** Destinations whose routes a later plugin took away or turned elsewhere, as canonical prefixes. */
  turned?: readonly string[];
  /** Further routes through the pod's gateways, such as those of a delegated IPAM plugin. */
  routes?: readonly Pick<Route, "dst" | "family" | "table" | "metric" | "mtu">[];
  /** A later plugin may have lowered the MTU of the pod's end. */
  mtuLowered?: boolean;
  /** The addresses may be another node's for now: then the host's routes to them lead into the overlay. */
  movable?: boolean;
  /** MAC address of the pod's end: as the last plugin of the chain left it. */
  mac?: string;
  hostIfname?: string;
  /**
   * The pod's neighbour entries may be learned or absent: its MAC was set after ADD, and with the old one the kernel
   * forgot the permanent ones. The host end answers for the gateways then.
   */
  neighboursForgotten?: boolean;
}
