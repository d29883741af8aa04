/** What programs are made from: where the kernel has things, and what of this node does not change with its pods and peers. */

import type { Family } from "../../../addr/index.ts";

/** What of this node's tunnel is in the programs; another one takes other programs. */
export interface TunnelSettings {
  vni: number;
  /** UDP port on which this node and its peers receive VXLAN. */
  port: number;
  /** MAC of this node's VTEP. */
  mac: string;
  underlayIp: string;
  /** MTU of the VXLAN device, in bytes. */
  mtu: number;
  /** Index of the VXLAN device. */
  device: number;
  /** Where what comes out of the tunnel is met: at the underlay device, or at the VXLAN device where the other one is in another namespace. */
  inbound: "underlay" | "device";
  /** Index of the underlay device; 0 where it is in another namespace. */
  uplink: number;
  /** The tunnel's header is made by the program and leaves by the underlay device; else by the VXLAN device. */
  encapsulate: boolean;
  /** Some peers are reached without the tunnel over the underlay device, and packets of pods may leave so. */
  direct: boolean;
  /** The programs stay at their devices when the agent is gone (clsact, before Linux 6.6), so they ask whether it has been there of late. */
  outlives: boolean;
  /** Hops of outer packets (net.ipv4.ip_default_ttl). */
  hops: number;
  /** Lengths of peers' prefixes, the longest first; at least one a family. */
  lengths: Readonly<Record<Family, readonly number[]>>;
  /** Outer source ports, first and last (net.ipv4.ip_local_port_range). */
  ports: readonly [number, number];
}

/** How long connections are known that nothing is heard of, in milliseconds; as conntrack's own parameters say. */
export interface Lifetimes {
  tcp: number;
  udp: number;
}

/** Where in the kernel's structures things are, in bytes. */
export interface Offsets {
  /** nf_conn.status */
  status: number;
  /** nf_conn.proto and in it ip_ct_tcp.state */
  tcpState: number;
}
