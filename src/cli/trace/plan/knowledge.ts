/** What a node knows about the two ends of a packet's way and about the nodes between, from which its steps are planned. Plain data. */
import type { Family, SocketAddress } from "../../../addr/index.ts";
import type { DirectHop, PathMtu } from "../../../peers/index.ts";
import type { End, Half, Traffic } from "../types.ts";

/** A pod of this node, by the records of its attachment. */
export interface LocalPod {
  /** NAMESPACE/NAME, or its container where the host end does not say. */
  name: string;
  /** Path of its network namespace, as it is found from here. */
  netns: string;
  ifname: string;
  hostIfname: string;
  ips: readonly string[];
  /** MAC of its end: on a bridge that which it was given, else that which it has. */
  mac: string;
}

/** Another node, as this one has it. */
export interface KnownPeer {
  node: string;
  mac: string;
  underlayIp: string;
  podCidrs: readonly string[];
  /** Single addresses of claims. */
  hosts?: readonly string[] | undefined;
  vni?: number | undefined;
  port?: number | undefined;
  direct?: readonly DirectHop[] | undefined;
  /** What routes to it take, where that was measured to be less than the device does. */
  pathMtu?: PathMtu | undefined;
  /** What the kernel said to its entries. */
  error?: string | undefined;
}

/** This node's part in the network. */
export interface KnownNetwork {
  name: string;
  mode: "Routed" | "Bridged";
  device: string;
  vni: number;
  /** Absent where only files tell. */
  port?: number | undefined;
  mac?: string | undefined;
  underlayIp?: string | undefined;
  /** The address under which the other nodes reach it, where that is another one. */
  publicIp?: string | undefined;
  podCidrs: readonly string[];
  /** Path of the namespace of its devices; absent: the host's. */
  hostNetns?: string | undefined;
  /** Its bridge, in a bridged network. */
  bridge?: string | undefined;
}

/** All of it. */
export interface Knowledge {
  node: string;
  source: Half["knowledge"];
  family: Family;
  traffic: Traffic;
  /** The Service's address and port that the sender uses in place of the other end's. */
  service?: SocketAddress | undefined;
  network: KnownNetwork;
  from: End & { local?: LocalPod };
  to: End & { local?: LocalPod };
  /** The node that has the end that is not here. */
  other?: KnownPeer | undefined;
  /** Underlay addresses of all peers. */
  peerIps: readonly string[];
  /** MAC of the destination, where the bridge answers for it. */
  toMac?: string | undefined;
  /** Nodes that are refused as peers, with the reason. */
  refused: readonly { node: string; message: string }[];
}
