/**
 * The overlay in plain data: who we are, who the others are, what the kernel should hold. Nothing here refers to
 * sockets or time, so that planning is a function that a test can call. The one index is that of an underlay interface:
 * of a direct route it is a part, as the gateway is.
 */

import type { Family } from "../addr/index.ts";
import type { Reserved } from "./reserved.ts";

/** How a node presents its end of one pod network to the others (an entry of the `skylane.dev/vtep` annotation). */
export interface VtepAnnotation {
  vni: number;
  /** MAC of its VXLAN device, canonical. */
  mac: string;
  /** Its underlay addresses, canonical, at most one a family; it receives VXLAN at the first one. */
  ips: string[];
  /**
   * Its pod CIDRs, canonical, in order: the first of a family has its VTEP address. One a family on the default network; on
   * others as many as it has blocks, and none where pods are not routed.
   */
  podCidrs: string[];
  /** UDP port on which it receives VXLAN. */
  port: number;
  /** It is prepared for pods' packets that come unencapsulated to `ips`. */
  direct?: boolean;
  /** It has pods whose addresses are a claim's and in none of `podCidrs`: it publishes them one by one. */
  claims?: boolean;
  /** Of the default network alone: how it takes what is encrypted; absent where it does not. */
  wireguard?: WireguardIdentity;
}

/** How a node takes part in encryption between nodes. */
export interface WireguardIdentity {
  /** Its public key, canonical base64 of 32 bytes. */
  key: string;
  /** UDP port at which it is reached, at the address of its VTEP, by nodes that know one key of each alone. */
  port: number;
  /** The slot of that key, of two; absent where it knows one key of each node alone. */
  slot?: 0 | 1;
  /** The key that it goes over to, in the other slot. */
  next?: string;
}

/** Whether what goes between nodes is encrypted: where both can (`wireguard`), or nothing goes that is not (`strict`). */
export type Encryption = "wireguard" | "strict";

/** What the TX checksum offload of the VXLAN device should be; `auto` decides by the kernel's version. */
export type TxChecksum = "auto" | "on" | "off";

/** Whether peers on the same segment of the underlay are reached without encapsulation. */
export type DirectRouting = "off" | "auto";

/** One pod network as this node takes part in it. */
export interface LocalNetwork {
  /** Name of the pod network. */
  network: string;
  /** This node's name. */
  node: string;
  vni: number;
  /** The VXLAN device's name, `sky.<vni>`. */
  device: string;
  /** UDP port on which this node receives VXLAN. */
  port: number;
  /** MTU of the VXLAN device, in bytes. */
  mtu: number;
  mac: string;
  /** This node's underlay address; its family is the family of the underlay. */
  underlayIp: string;
  /** The address under which the other nodes reach it, where that is another one (1:1 NAT). */
  publicIp?: string;
  /** This node's pod CIDRs, in order: the first of a family has its VTEP address. */
  podCidrs: string[];
  /**
   * The network has a network namespace of its own on every node, so that its pod CIDRs may be anything: also the
   * addresses of other networks, or of the underlay.
   */
  isolated?: boolean;
  /** The whole cluster's pod CIDRs; empty where not configured. */
  clusterCidrs: string[];
  /** `auto` by default. */
  txChecksum?: TxChecksum;
  /** `off` by default. */
  directRouting?: DirectRouting;
  /** Absent where it is off. */
  encryption?: Encryption;
  /** Why pods can have no IPv6, in words: the MTU is too small for it. */
  narrow?: string;
  /** What of this host no peer may have; nothing by default. Another object only when it says something else. */
  reserved?: Reserved;
}

/** Where a peer on the same segment takes pods' packets of one family. */
export interface DirectHop {
  /** Its underlay address of that family. */
  gateway: string;
  /** Index of our interface that is on the segment. */
  ifindex: number;
}

/** Bytes of the largest packet that passes the way to a peer, by family; the device's MTU where absent. */
export type PathMtu = Readonly<Partial<Record<Family, number>>>;

/** Another node of a pod network. */
export interface Peer {
  /** Its Node's name. */
  node: string;
  mac: string;
  underlayIp: string;
  podCidrs: string[];
  /** Single addresses that are there though no prefix of its says so, canonical: claims' that move with their pods. No two peers have one. */
  hosts?: readonly string[];
  /** It publishes such addresses. */
  claims?: boolean;
  /** Its VNI where that is not ours: a roll-out of another VNI reaches nodes one after the other. */
  vni?: number;
  /** Its VXLAN port where that is not ours, for the same reason. */
  port?: number;
  /** How it takes what is encrypted; absent where it does not. */
  wireguard?: WireguardIdentity;
  /** Underlay addresses to which it may be sent pods' packets unencapsulated; absent where it, or this node, does not route directly. */
  receivesAt?: readonly string[];
  /** Those of them that are on a segment of ours, at most one a family; packets of another family go through the tunnel. */
  direct?: readonly DirectHop[];
  /** Where that is less than it should be, as this node has measured. */
  pathMtu?: PathMtu;
}

/** Why a node is refused as a peer. A closed list: metrics and Events carry these words. */
export const REFUSAL_REASONS = [
  /** The annotation is malformed; the message names the key. */
  "BadAnnotation",
  /** It publishes no underlay address of the family that our VXLAN device uses, or its own device uses the other one. */
  "NoUnderlayAddress",
  /** It has pod CIDRs only of families that this node has none of. */
  "NoCommonFamily",
  /** It says that it takes part in a pod network, where it has no NetworkBlock. */
  "NoNetworkBlock",
  /** A pod CIDR lies outside the configured cluster CIDRs, or is none that the API server has given the Node. */
  "ForeignPodCidr",
  /** The API server cannot be asked which pod CIDRs the Node has, or has given it none. */
  "NoPodCidr",
  /** A pod CIDR covers what this node needs besides its pods: the API server, a gateway, Services … (reserved.ts) */
  "ReservedPrefix",
  /** Its VXLAN port is that of another service, and not this node's. */
  "ServicePort",
  /** Its underlay address is one at which no node can be, or the API server's or a gateway's. */
  "ReservedVtepIp",
  /** Its underlay address, MAC or pod CIDR is, or overlaps, one of ours. */
  "CollidesWithSelf",
  /** A Node that has a better claim to it (order.ts) publishes the same underlay address. */
  "DuplicateVtepIp",
  /** A Node that has a better claim to it publishes the same MAC. */
  "DuplicateVtepMac",
  /** A Node that has a better claim to it publishes the same key of WireGuard. */
  "DuplicateWireguardKey",
  /** A pod CIDR overlaps one of an older Node. */
  "OverlappingPodCidr",
  /** Its underlay address lies in a pod CIDR, or its pod CIDR covers the underlay address of an older Node. */
  "UnderlayInPodCidr",
] as const;
export type RefusalReason = (typeof REFUSAL_REASONS)[number];

/** A node that is not accepted as a peer. */
export interface Refusal {
  node: string;
  reason: RefusalReason;
  /** For the reader: what of the node is wrong, against whom, and what to do. */
  message: string;
}

/** What peer selection reads of a Node. */
export interface NodeVtep {
  name: string;
  /** RFC 3339, as in its metadata. */
  creationTimestamp: string;
  /** Text of its `skylane.dev/vtep` annotation; absent while it has published none. */
  vtepAnnotation?: string;
  /** In a network with a namespace of its own: the CIDRs that it has NetworkBlocks for. */
  blocks?: readonly string[];
  /** What the API server says of it, which its agent cannot write; absent while it is being asked. */
  granted?: Granted;
  /** Why nothing comes of asking. */
  unknown?: string;
}

/** What of a Node its kubelet and the cluster's controllers write, and no agent. */
export interface Granted {
  /** `spec.podCIDRs`, canonical, one a family; none until the cluster has given some. */
  podCidrs: readonly string[];
  /** `status.addresses`, canonical. */
  addresses: readonly string[];
  /** Whether its kubelet is heard; absent while nobody has said. */
  heard?: boolean;
}

/** The VXLAN device as it should be. */
export interface DesiredDevice {
  name: string;
  vni: number;
  port: number;
  local: string;
  mac: string;
  mtu: number;
  /** Marks the device as this network's, so that one left over from another VNI is found. */
  alias: string;
  txChecksum: TxChecksum;
  /** It is to be a port of a bridge, which is seen to elsewhere; else it is to have no master. */
  bridged?: boolean;
}

/** Whether two devices are wanted the same in every setting. */
export const sameDevice = (a: DesiredDevice, b: DesiredDevice): boolean =>
  (Object.keys(a) as (keyof DesiredDevice)[]).every((key) => a[key] === b[key]);
