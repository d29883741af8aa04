/**
 * VXLAN over IPv4 made by the program (RFC 7348), as the VXLAN device makes it: no DSCP, ECN as RFC 6040 has it, hops as of any packet of
 * this host, a source port from the hash of the inner connection. The UDP checksum is zero, as the RFC recommends: a program cannot make one of a packet whose
 * own is left to the device.
 */
import { type Family, ipToBytes } from "../../../addr/index.ts";
import { type Assembly, be16, R0, R1, R2, R3, R4, R6, R7, R8, R9, R10, SKB } from "../../bpf/index.ts";
import { PEER, WAY } from "./maps.ts";
import { copyMac, count, DROP, ETHER_TYPE, ETHERNET, hop, IP, PROTOCOL, UDP_BYTES, writeMac } from "./packet.ts";
import type { TunnelSettings } from "./settings.ts";
import { findWay, leave } from "./way.ts";

/** Outer IPv4, UDP, VXLAN and inner Ethernet headers. */
const UDP_AT = ETHERNET.bytes + IP[4].bytes;
const VXLAN_AT = UDP_AT + UDP_BYTES;
const VXLAN_BYTES = 8;
const INNER_AT = VXLAN_AT + VXLAN_BYTES;
/** What is put before a packet over IPv4, in bytes. */
const OVERHEAD = IP[4].bytes + UDP_BYTES + VXLAN_BYTES + ETHERNET.bytes;
/** VXLAN's flags: only that there is a VNI; as four bytes in memory. */
export const VXLAN_FLAGS = 0x08;
/** A VNI as the four bytes of the header in memory. */
export const vniBytes = (vni: number): number => ((vni >>> 16) & 0xff) | (vni & 0xff00) | ((vni & 0xff) << 16);

const KEPT = { ecn: -144, port: -152 } as const;
/** BPF_ADJ_ROOM_MAC and flags of bpf_skb_adjust_room: the size of segments stays, an Ethernet header in UDP in IPv4 comes before them. */
export const ROOM_AT_MAC = 1;
const ROOM_FLAGS = 1 | (1 << 1) | (1 << 4) | (1 << 6);
const ECN = { mask: 3, CE: 3, ECT0: 2 } as const;

/**
 * Sends the packet to the peer whose entry is in R8.
 * @param from a pod: then forwarding takes one of its hops; or the VXLAN device, to which it came forwarded
 */
export function encapsulate(a: Assembly, family: Family, tunnel: TunnelSettings, from: "pod" | "device"): void {
  const own = Buffer.from(ipToBytes(tunnel.underlayIp)).readInt32LE();
  findWay(a, `tunnel${family}`, {
    family: 4,
    source: () => void a.move32(R1, own),
    protocol: PROTOCOL.UDP,
    overhead: OVERHEAD,
    uplink: tunnel.uplink,
  });
  keepEcn(a, family);
  keepPort(a, tunnel);
  a.move(R1, R6)
    .move(R2, OVERHEAD)
    .move(R3, ROOM_AT_MAC)
    .move(R4, ETHERNET.bytes)
    .alu(R4, "<<=", 56)
    .alu(R4, "|=", ROOM_FLAGS)
    .call("skb_adjust_room")
    .jumpIf(R0, "!=", 0, "kernel")
    .load(4, R7, R6, SKB.data)
    .load(4, R2, R6, SKB.data_end)
    .move(R1, R7)
    .alu(R1, "+=", ETHERNET.bytes + OVERHEAD + IP[family].bytes)
    .jumpIf(R1, ">", R2, "cut");
  if (from === "pod") hop(a, family, ETHERNET.bytes + OVERHEAD, `away${family}`);
  outerIp(a, tunnel);
  a.store(4, R7, VXLAN_AT, VXLAN_FLAGS).store(4, R7, VXLAN_AT + 4, vniBytes(tunnel.vni));
  copyMac(a, INNER_AT + ETHERNET.destination, PEER.mac);
  writeMac(a, INNER_AT + ETHERNET.source, tunnel.mac);
  a.store(2, R7, INNER_AT + ETHERNET.type, ETHER_TYPE[family]).store(2, R7, ETHERNET.type, ETHER_TYPE[4]);
  copyMac(a, ETHERNET.destination, WAY.hop);
  copyMac(a, ETHERNET.source, WAY.own);
  count(a, from, from === "pod" ? "sent" : "tunnelled");
  leave(a, `tunnel${family}`, tunnel.uplink);
}

/** What `encapsulate` leaves for when the kernel did not keep its headers together, which it does. */
export const cut = (a: Assembly): Assembly => a.label("cut").exit(DROP);

/** What the packet says of congestion; that it has met with some is said by the inner header alone (RFC 6040, section 4.1; INET_ECN_encapsulate). */
function keepEcn(a: Assembly, family: Family): void {
  a.load(1, R1, R7, ETHERNET.bytes + 1);
  if (family === 6) a.alu(R1, ">>=", 4);
  a.alu(R1, "&=", ECN.mask)
    .jumpIf(R1, "!=", ECN.CE, `ecn${family}`)
    .move(R1, ECN.ECT0)
    .label(`ecn${family}`)
    .store(8, R10, KEPT.ecn, R1);
}

/** udp_flow_src_port of the kernel (include/net/udp.h). */
function keepPort(a: Assembly, { ports: [first, last] }: TunnelSettings): void {
  a.move(R1, R6)
    .call("get_hash_recalc")
    .move(R1, R0)
    .alu32(R1, "<<=", 16)
    .alu32(R0, "^=", R1)
    .alu(R0, "*=", last - first)
    .alu(R0, ">>=", 32)
    .alu(R0, "+=", first)
    .swap(R0, 16)
    .store(8, R10, KEPT.port, R0);
}

/** Outer IPv4 and UDP headers. */
function outerIp(a: Assembly, { underlayIp, port, hops }: TunnelSettings): void {
  const at = ETHERNET.bytes;
  const source = Buffer.from(ipToBytes(underlayIp));
  const hopsAndProtocol = hops | (PROTOCOL.UDP << 8);
  const words = 0x45 + hopsAndProtocol + source.readUInt16LE(0) + source.readUInt16LE(2);
  // R9 is the sum of the header's words, which is the same in either byte order but for its own (RFC 1071, section 2).
  a.call("get_prandom_u32")
    .alu32(R0, "&=", 0xffff)
    .store(2, R7, at + 4, R0)
    .move(R9, R0)
    .alu(R9, "+=", words)
    .load(8, R1, R10, KEPT.ecn)
    .alu(R1, "<<=", 8)
    .alu(R9, "+=", R1)
    .alu(R1, "|=", 0x45)
    .store(2, R7, at, R1)
    .load(4, R1, R6, SKB.len)
    .alu(R1, "-=", ETHERNET.bytes)
    .move(R2, R1)
    .swap(R1, 16)
    .store(2, R7, at + 2, R1)
    .alu(R9, "+=", R1)
    .alu(R2, "-=", IP[4].bytes)
    .swap(R2, 16)
    .store(2, R7, UDP_AT + 4, R2)
    .store(2, R7, at + 6, 0)
    .store(2, R7, at + 8, hopsAndProtocol)
    .store(4, R7, at + 12, source.readInt32LE())
    .load(4, R1, R8, PEER.underlay)
    .store(4, R7, at + 16, R1)
    .move(R2, R1)
    .alu(R2, "&=", 0xffff)
    .alu(R1, ">>=", 16)
    .alu(R9, "+=", R1)
    .alu(R9, "+=", R2);
  for (let fold = 0; fold < 2; fold++) a.move(R1, R9).alu(R1, ">>=", 16).alu(R9, "&=", 0xffff).alu(R9, "+=", R1);
  a.alu(R9, "^=", 0xffff)
    .store(2, R7, at + 10, R9)
    .load(8, R1, R10, KEPT.port)
    .store(2, R7, UDP_AT, R1)
    .store(2, R7, UDP_AT + 2, be16(port))
    .store(2, R7, UDP_AT + 6, 0);
}
