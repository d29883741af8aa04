/** Bridges, their ports and their forwarding entries in Skylane's words. */

/** Settings of a bridge. */
export interface BridgeSettings {
  /** IGMP and MLD are listened to, so that multicast goes to those alone who asked for it. */
  mcastSnooping: boolean;
  /**
   * Frames to link-local group addresses (01:80:c2:00:00:0x) teach addresses too, by the kernel's default, and at locked ports
   * as well; absent where the kernel knows no other way (before Linux 5.0).
   */
  linkLocalLearning?: boolean;
  /** How many addresses it learns from frames, 0 for no limit; kernels before Linux 6.7 have none. */
  fdbMaxLearned?: number;
}

/** What frames may do at a port of a bridge (linux/if_link.h IFLA_BRPORT_*). */
export interface BridgePort {
  /** Source addresses become FDB entries. */
  learning: boolean;
  /** Frames leave by it that are for an address that is nowhere in the FDB. */
  unicastFlood: boolean;
  mcastFlood: boolean;
  bcastFlood: boolean;
  /** ARP and ND that the bridge can answer by its neighbours does not leave by it. */
  neighSuppress: boolean;
  /** Ports with this are kept apart from each other. */
  isolated: boolean;
  /** Only frames from addresses whose FDB entry points to this port come in; no address moves here by itself. */
  locked: boolean;
  /** An unknown source address becomes a locked FDB entry, which is announced (Linux 6.2); absent in older kernels. */
  mab?: boolean;
  /** Frames pass at all: the kernel's own doing while the port has a carrier and there is no spanning tree. Only `true` can be set. */
  forwarding?: boolean;
}

/** What is decided for a port. */
export type PortSettings = Required<Omit<BridgePort, "forwarding">>;

/** An FDB entry of a bridge: behind which port an address is. */
export interface BridgeFdbEntry {
  /** Index of the port, or of the bridge itself for addresses of its own. */
  ifindex: number;
  mac: string;
  /** Index of the bridge; not needed for changes. */
  master?: number;
  /** NUD_* bits. */
  state?: number;
  /** NTF_EXT_LEARNED: a control plane's, never aged and, when changed, not by frames; always so when added. */
  external?: boolean;
  /** Of one VLAN; a kernel with VLAN filtering makes one for each VLAN of the port, beside the one that was asked for, and takes them away with it. */
  vlan?: number;
  /** Seen on a locked port with MAB, and not let in. */
  locked?: boolean;
}
