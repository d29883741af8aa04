/** A step: what is looked at, and what it should be. Each kind is read by one function of read/ and judged by one of judge.ts. */
import type { Family, SocketAddress } from "../../../addr/index.ts";
import type { Traffic } from "../types.ts";

/** What every step says. */
interface Common {
  /** Name of the hop. */
  hop: string;
  /** What it should be, in words. */
  should: string;
}

/** Where a kernel object is: the path of a namespace, undefined for the host's. */
interface Placed {
  netns: string | undefined;
  /** The namespace in words: "pod default/a", "node1". */
  where: string;
}

/** A device that is there and up. */
export interface LinkStep extends Common, Placed {
  kind: "link";
  name: string;
  mac?: string | undefined;
  vxlan?: { vni: number; port?: number | undefined; local?: string | undefined };
  /** The bridge that it has to be a port of. */
  master?: string | undefined;
}

/** An address of a device. */
export interface AddressStep extends Common, Placed {
  kind: "address";
  device: string;
  ip: string;
}

/** Where the kernel sends a packet. */
export interface RouteStep extends Common, Placed {
  kind: "route";
  to: string;
  from?: string | undefined;
  device: string | { index: number };
  /** Absent: without one. */
  gateway?: string | undefined;
}

/** The MAC of a next hop. */
export interface NeighbourStep extends Common, Placed {
  kind: "neighbour";
  device: string;
  ip: string;
  /** Any where it is not known. */
  mac?: string | undefined;
  /** The kernel may find it out by itself when it is needed. */
  mayBeAbsent?: true;
}

/** Behind which underlay address a MAC is. */
export interface FdbStep extends Common, Placed {
  kind: "fdb";
  device: string;
  mac: string;
  /** One of these. */
  dst: readonly string[];
  vni?: number | undefined;
  port?: number | undefined;
}

/** Behind which port of a bridge a MAC is. */
export interface BridgeFdbStep extends Common, Placed {
  kind: "bridgeFdb";
  bridge: string;
  mac: string;
  device: string;
}

/** Whether the kernel forwards at all. */
export interface ForwardingStep extends Common, Placed {
  kind: "forwarding";
  family: Family;
}

/** What network policies say. */
export interface PolicyStep extends Common {
  kind: "policy";
  direction: "egress" | "ingress";
  network: string;
  from: string;
  to: string;
  traffic: Traffic;
}

/** The way to another node beside the tunnel. */
export interface UnderlayStep extends Common, Placed {
  kind: "underlay";
  to: string;
  from?: string | undefined;
}

/** Whether another node answers in the tunnel, which takes all of both nodes. */
export interface TunnelStep extends Common {
  kind: "tunnel";
  node: string;
  podCidrs: readonly string[];
  peerPodCidrs: readonly string[];
  underlayIp: string;
  device: string;
  /** Its VTEP in the packet's family: full packets are tried as well. */
  vtep?: string | undefined;
  /** What routes take in place of a full packet. */
  routes?: number | undefined;
}

/** Whether the packet filter lets a node's VXLAN packets in. */
export interface PeerSetStep extends Common {
  kind: "peerSet";
  vni: number;
  ip: string;
  node: string;
}

/** What conntrack makes of the two ends. */
export interface ConntrackStep extends Common, Placed {
  kind: "conntrack";
  from: string;
  to: string;
  traffic: Traffic;
}

/** What conntrack makes of what is sent to a Service. */
export interface ServiceStep extends Common, Placed {
  kind: "service";
  from: string;
  service: SocketAddress;
  protocol: string;
}

/** Known without a look at the kernel. */
export interface KnownStep extends Common {
  kind: "known";
  is: string;
  /** Absent where it is right. */
  wrong?: { means: string; cure: string };
}

export type Step =
  | LinkStep
  | AddressStep
  | RouteStep
  | NeighbourStep
  | FdbStep
  | BridgeFdbStep
  | ForwardingStep
  | PolicyStep
  | UnderlayStep
  | TunnelStep
  | PeerSetStep
  | ConntrackStep
  | ServiceStep
  | KnownStep;
