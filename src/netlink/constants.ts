/**
 * Numbers of rtnetlink that Skylane uses, under their names in the kernel's headers (linux/rtnetlink.h, if_link.h,
 * if_addr.h, neighbour.h, fib_rules.h), so that they can be looked up there. What is common to all of netlink
 * comes from the `netlink` package.
 */
import { MessageType } from "netlink/dist/constants.js";

export { Attributes as NetlinkOption, Flags, FlagsAck, FlagsGet, FlagsNew, Protocol } from "netlink/dist/constants.js";

/** Message types common to all of netlink. */
export const NLMSG: Readonly<Record<"NOOP" | "ERROR" | "DONE", number>> = MessageType;

/** Message types of rtnetlink. */
export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
  NEWRULE: 32,
  DELRULE: 33,
  GETRULE: 34,
  NEWQDISC: 36,
  DELQDISC: 37,
  GETQDISC: 38,
  NEWTFILTER: 44,
  DELTFILTER: 45,
  GETTFILTER: 46,
  NEWNETCONF: 80,
  GETNSID: 90,
} as const;

/** Multicast groups as bits of nl_groups (RTNLGRP_x is bit x - 1). */
export const GROUP = {
  LINK: 1 << 0,
  NEIGH: 1 << 2,
  TC: 1 << 3,
  IPV4_IFADDR: 1 << 4,
  IPV4_ROUTE: 1 << 6,
  IPV4_RULE: 1 << 7,
  IPV6_IFADDR: 1 << 8,
  IPV6_ROUTE: 1 << 10,
  IPV6_RULE: 1 << 18,
  IPV4_NETCONF: 1 << 23,
  IPV6_NETCONF: 1 << 24,
} as const;
/** linux/netconf.h: the device of a notification, as a signed number. */
export const NETCONFA_IFINDEX = 1;

export const AF_UNSPEC = 0;
export const AF_INET = 2;
export const AF_BRIDGE = 7;
export const AF_INET6 = 10;

/** Interface flags (net/if.h). */
export const IFF = { UP: 1, LOOPBACK: 1 << 3, NOARP: 1 << 7, MULTICAST: 1 << 12, LOWER_UP: 1 << 16 } as const;

/** linux/rtnetlink.h: attributes of queueing disciplines and filters. */
export const TCA = { KIND: 1, OPTIONS: 2 } as const;
/** linux/pkt_sched.h: places of queueing disciplines and filters (TC_H_*). */
export const TC_H = {
  ROOT: 0xffff_ffff,
  INGRESS: 0xffff_fff1,
  INGRESS_HANDLE: 0xffff_0000,
  INGRESS_FILTERS: 0xffff_fff2,
  EGRESS_FILTERS: 0xffff_fff3,
} as const;
/** linux/pkt_sched.h: attributes of a token bucket filter. */
export const TCA_TBF = { PARMS: 1, RATE64: 4, BURST: 6 } as const;
/** linux/pkt_sched.h: lengths of packets are as they are on Ethernet, so that no table of rates is needed. */
export const TC_LINKLAYER_ETHERNET = 1;
/** linux/pkt_cls.h: attributes of the classifier `bpf`, and of actions. */
export const TCA_BPF = { ACT: 1, OPS_LEN: 4, OPS: 5, FD: 6, NAME: 7, FLAGS: 8, FLAGS_GEN: 9, ID: 11 } as const;
/** What a program returns is what becomes of the packet; and no network card is to run it. */
export const TCA_BPF_FLAG_ACT_DIRECT = 1;
export const TCA_CLS_FLAGS_SKIP_HW = 1;
/** Classic BPF: return all ones, which matches (struct sock_filter: BPF_RET | BPF_K, no jumps, k). */
export const MATCH_ALL: Buffer = Buffer.from([0x06, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]);
export const TCA_ACT = { KIND: 1, OPTIONS: 2 } as const;
/** linux/tc_act/tc_mirred.h. */
export const TCA_MIRRED_PARMS = 2;
export const TCA_EGRESS_REDIR = 1;
export const TC_ACT_STOLEN = 4;
/** linux/if_ether.h: packets of all protocols. */
export const ETH_P_ALL = 0x0003;

export const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  LINK: 5,
  MASTER: 10,
  PROTINFO: 12,
  TXQLEN: 13,
  LINKINFO: 18,
  IFALIAS: 20,
  AF_SPEC: 26,
  GROUP: 27,
  NET_NS_FD: 28,
  EXT_MASK: 29,
  NUM_TX_QUEUES: 31,
  NUM_RX_QUEUES: 32,
  LINK_NETNSID: 37,
  TARGET_NETNSID: 46,
} as const;
/** IFLA_EXT_MASK: leaves statistics out of the answer, which are most of it. */
export const RTEXT_FILTER_SKIP_STATS = 1 << 3;
export const IFLA_INFO = { KIND: 1, DATA: 2, SLAVE_KIND: 4, SLAVE_DATA: 5 } as const;
/** Parts of a family in {@link IFLA.AF_SPEC}; the arrays of all kernel parameters of the device among them. */
export const IFLA_INET_CONF = 1;
export const IFLA_INET6_CONF = 2;
export const IFLA_INET6_ADDR_GEN_MODE = 8;
export const VETH_INFO_PEER = 1;
export const IFLA_VXLAN = {
  ID: 1,
  GROUP: 2,
  LINK: 3,
  LOCAL: 4,
  LEARNING: 7,
  PORT: 15,
  GROUP6: 16,
  LOCAL6: 17,
} as const;

/** Settings of a bridge (linux/if_link.h IFLA_BR_*). */
export const IFLA_BR = { MCAST_SNOOPING: 23, MULTI_BOOLOPT: 46, FDB_MAX_LEARNED: 49 } as const;
/** Bit of IFLA_BR_MULTI_BOOLOPT: frames to 01:80:c2:00:00:0x teach no address (linux/if_bridge.h). */
export const BR_BOOLOPT_NO_LL_LEARN = 1 << 0;
/** Settings of a bridge's port (linux/if_link.h IFLA_BRPORT_*). */
export const IFLA_BRPORT = {
  STATE: 1,
  LEARNING: 8,
  UNICAST_FLOOD: 9,
  MCAST_FLOOD: 27,
  BCAST_FLOOD: 30,
  NEIGH_SUPPRESS: 32,
  ISOLATED: 33,
  LOCKED: 39,
  MAB: 40,
} as const;
/** BR_STATE_FORWARDING (linux/if_bridge.h). */
export const BR_STATE_FORWARDING = 3;

export const IFA = { ADDRESS: 1, LOCAL: 2, CACHEINFO: 6, FLAGS: 8 } as const;
export const IFA_F = {
  NODAD: 0x02,
  DADFAILED: 0x08,
  DEPRECATED: 0x20,
  TENTATIVE: 0x40,
  PERMANENT: 0x80,
  NOPREFIXROUTE: 0x200,
} as const;

export const RTA = {
  DST: 1,
  SRC: 2,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  METRICS: 8,
  MULTIPATH: 9,
  TABLE: 15,
  VIA: 18,
} as const;
export const RTAX_MTU = 2;
export const RTNH_F_ONLINK = 4;
/** Length of struct rtnexthop. */
export const RTNEXTHOP = 8;
/** An answer or notification about a cached route, not one of a table. */
export const RTM_F_CLONED = 0x200;
/** RTM_GETROUTE answers with the table in which the route was found. */
export const RTM_F_LOOKUP_TABLE = 0x1000;
export const RT_TABLE = { UNSPEC: 0, MAIN: 254, LOCAL: 255 } as const;
export const RT_SCOPE = { UNIVERSE: 0, LINK: 253, HOST: 254, NOWHERE: 255 } as const;
export const RTN = { UNSPEC: 0, UNICAST: 1, LOCAL: 2 } as const;

export const NDA = { DST: 1, LLADDR: 2, VLAN: 5, PORT: 6, VNI: 7, IFINDEX: 8, MASTER: 9, FLAGS_EXT: 15 } as const;
export const NUD_NOARP = 0x40;
export const NUD_PERMANENT = 0x80;
export const NTF_SELF = 0x02;
export const NTF_MASTER = 0x04;
export const NTF_PROXY = 0x08;
export const NTF_EXT_LEARNED = 0x10;
export const NTF_EXT_LOCKED = 1 << 1;

export const FRA = {
  DST: 1,
  SRC: 2,
  IIFNAME: 3,
  PRIORITY: 6,
  FWMARK: 10,
  SUPPRESS_PREFIXLEN: 14,
  TABLE: 15,
  FWMASK: 16,
  OIFNAME: 17,
  PROTOCOL: 21,
  IP_PROTO: 22,
  SPORT_RANGE: 23,
  DPORT_RANGE: 24,
} as const;
export const FR_ACT_TO_TBL = 1;

/** Attributes of an error (linux/netlink.h NLMSGERR_ATTR_*). */
export const NLMSGERR_ATTR_MSG = 1;

/** Attributes of RTM_GETNSID (linux/net_namespace.h). */
export const NETNSA = { NSID: 1, FD: 3 } as const;
