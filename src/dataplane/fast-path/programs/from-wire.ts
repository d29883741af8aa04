/**
 * The program at the underlay device, for what comes out of the tunnel: it takes the tunnel's header off. Packets of settled connections it hands over to their
 * pods; all others to the VXLAN device, as if that had taken their header off, whence the ordinary path begins. So these are spared the outer packet's own way
 * through the host, and nothing else. Whatever is not VXLAN of ours is none of its business and not counted.
 */
import { FAMILIES, type Family, familyOf, ipToBytes, macToBytes } from "../../../addr/index.ts";
import { Assembly, be16, R0, R1, R2, R3, R4, R6, R7, R8, R10, SKB } from "../../bpf/index.ts";
import { numberKey, PEER } from "./maps.ts";
import type { Outcome } from "./outcomes.ts";
import {
  begin,
  copyMac,
  count,
  deliver,
  end,
  ETHER_TYPE,
  ETHERNET,
  findPeer,
  findPod,
  IP,
  PROTOCOL,
  pull,
  reachedBy,
  readable,
  readPacket,
  STACK,
  UDP_BYTES,
  writeMac,
} from "./packet.ts";
import { settled } from "./settled.ts";
import type { Lifetimes, Offsets, TunnelSettings } from "./settings.ts";
import { cut, ROOM_AT_MAC, vniBytes, VXLAN_FLAGS } from "./tunnel.ts";

/** Packets that are nothing for the fast path, but are what the VXLAN device takes, if they are their peer's. */
const TAKEN_OFF: ReadonlySet<Outcome> = new Set([
  "protocol",
  "names",
  "flags",
  "destination",
  "gone",
  "mtu",
  "unknown",
  "unsettled",
]);
/** BPF_F_INGRESS: as if the device had received it. */
const RECEIVED = 1;

const VXLAN_BYTES = 8;
/** Flags of bpf_skb_adjust_room: the size of segments stays, so does what is known of checksums; which family is inside. */
const FIXED_GSO = 1;
const NO_CSUM_RESET = 1 << 5;
const INSIDE: Readonly<Record<Family, number>> = { 4: 1 << 7, 6: 1 << 8 };
/** BPF_CSUM_LEVEL_DEC: one checksum fewer is known to be right, the outer one. */
const ONE_LESS = 2;
const ECN_CE = 3;

export function fromWire(tunnel: TunnelSettings, lifetimes: Lifetimes, offsets: Offsets): Assembly {
  const a = new Assembly();
  const under = familyOf(tunnel.underlayIp);
  const udp = ETHERNET.bytes + IP[under].bytes;
  const inner = udp + UDP_BYTES + VXLAN_BYTES + ETHERNET.bytes;
  begin(a, "next", tunnel);
  toThisVtep(a, under, udp, tunnel);
  pull(a, inner, "kernel");
  readable(a, inner, "shape");
  ofThisNetwork(a, udp + UDP_BYTES, tunnel);
  a.load(1, R1, R7, ETHERNET.bytes + 1);
  if (under === 6) a.alu(R1, ">>=", 4);
  a.alu(R1, "&=", ECN_CE).jumpIf(R1, "==", ECN_CE, "congestion");
  toThisMac(a, inner - ETHERNET.bytes, tunnel.mac);
  a.load(2, R1, R7, inner - 2)
    .jumpIf(R1, "==", ETHER_TYPE[4], "ip4")
    .jumpIf(R1, "!=", ETHER_TYPE[6], "frame");
  for (const family of FAMILIES.toReversed()) {
    a.label(`ip${family}`);
    readPacket(a, family, inner);
    findPeer(a, family, inner, "source", { lengths: tunnel.lengths, else_: "source" });
    reachedBy(a, "tunnel", "source");
    ofThatPeer(a, under, "source");
    findPod(a, family, inner, "destination");
    settled(a, family, inner, { offsets, lifetimes, label: `in${family}` });
    unpack(a, family, tunnel, inner - ETHERNET.bytes, "kernel");
    count(a, "wire", "delivered");
    deliver(a, family, `in${family}`);
  }
  end(a, "wire", { of: TAKEN_OFF, add: () => toDevice(a, under, inner, tunnel) });
  return cut(a);
}

/**
 * Hands what is the peer's, and goes the ordinary path, to the VXLAN device without the tunnel's header. Not what stands for several segments: taking the header
 * off leaves the mark of a tunnel on those, which matters to a network card if they leave the node again.
 */
function toDevice(a: Assembly, under: Family, inner: number, tunnel: TunnelSettings): void {
  const { lengths, device, mac } = tunnel;
  a.store(4, R10, STACK.counter, numberKey(device).readInt32LE())
    .move(R2, R10)
    .alu(R2, "+=", STACK.counter)
    .map(R1, "devices")
    .call("map_lookup_elem")
    .jumpIf(R0, "==", 0, "next")
    .load(4, R1, R6, SKB.gso_size)
    .jumpIf(R1, "!=", 0, "next")
    .load(4, R7, R6, SKB.data)
    .load(4, R8, R6, SKB.data_end)
    .move(R2, R7)
    .alu(R2, "+=", inner + IP[4].bytes)
    .jumpIf(R2, ">", R8, "next")
    .load(2, R1, R7, inner - 2)
    .jumpIf(R1, "==", ETHER_TYPE[4], "rest4");
  readable(a, inner + IP[6].bytes, "next");
  for (const family of FAMILIES.toReversed()) {
    a.label(`rest${family}`);
    findPeer(a, family, inner, "source", { lengths, else_: "next" });
    reachedBy(a, "tunnel", "next");
    ofThatPeer(a, under, "next");
    a.move(R8, R0);
    unpack(a, family, tunnel, inner - ETHERNET.bytes, "next");
    writeMac(a, ETHERNET.destination, mac);
    copyMac(a, ETHERNET.source, PEER.mac);
    a.move(R1, device).move(R2, RECEIVED).call("redirect").exit();
  }
}

/** Goes on if it is UDP to this node's VXLAN port, whole. */
function toThisVtep(a: Assembly, under: Family, udp: number, { underlayIp, port }: TunnelSettings): void {
  const at = ETHERNET.bytes;
  readable(a, udp + UDP_BYTES, "next");
  a.load(2, R1, R7, ETHERNET.type)
    .jumpIf(R1, "!=", ETHER_TYPE[under], "next")
    .load(1, R1, R7, at + IP[under].next)
    .jumpIf(R1, "!=", PROTOCOL.UDP, "next")
    .load(2, R1, R7, udp + 2)
    .jumpIf(R1, "!=", be16(port), "next")
    .load(1, R1, R7, at);
  if (under === 4)
    a.jumpIf(R1, "!=", 0x45, "next")
      .load(2, R1, R7, at + 6)
      .alu(R1, "&=", be16(0x3fff))
      .jumpIf(R1, "!=", 0, "next");
  else a.alu(R1, "&=", 0xf0).jumpIf(R1, "!=", 0x60, "next");
  const own = Buffer.from(ipToBytes(underlayIp));
  for (let done = 0; done < own.length; done += 4)
    a.load(4, R1, R7, at + IP[under].destination + done)
      .move32(R2, own.readInt32LE(done))
      .jumpIf(R1, "!=", R2, "next");
}

function ofThisNetwork(a: Assembly, vxlan: number, { vni }: TunnelSettings): void {
  a.load(4, R1, R7, vxlan)
    .jumpIf(R1, "!=", VXLAN_FLAGS, "next")
    .load(4, R1, R7, vxlan + 4)
    .jumpIf(R1, "!=", vniBytes(vni), "next");
}

function toThisMac(a: Assembly, at: number, mac: string): void {
  const own = Buffer.from(macToBytes(mac));
  a.load(4, R1, R7, at)
    .move32(R2, own.readInt32LE(0))
    .jumpIf(R1, "!=", R2, "frame")
    .load(2, R1, R7, at + 4)
    .jumpIf(R1, "!=", own.readUInt16LE(4), "frame");
}

/** Goes on if the node that has the inner source (R0) is the one that sent it. */
function ofThatPeer(a: Assembly, under: Family, else_: string): void {
  for (let done = 0; done < (under === 4 ? 4 : 16); done += 4)
    a.load(4, R1, R7, ETHERNET.bytes + IP[under].source + done)
      .load(4, R2, R0, PEER.underlay + done)
      .jumpIf(R1, "!=", R2, else_);
}

/** Takes the tunnel's header off, between the frame's own Ethernet header and the inner packet. @param bytes of it. @param else_ where the kernel refuses */
function unpack(
  a: Assembly,
  family: Family,
  { underlayIp, outlives }: TunnelSettings,
  bytes: number,
  else_: string,
): void {
  const under = familyOf(underlayIp);
  // Kernels on which programs outlive the agent may not know that flag (Linux 6.3): there the header becomes one of the other family first, which it is not for long.
  const turned = outlives && family !== under;
  if (turned)
    a.move(R1, R6).move(R2, ETHER_TYPE[family]).move(R3, 0).call("skb_change_proto").jumpIf(R0, "!=", 0, else_);
  a.move(R1, R6)
    .move(R2, turned ? IP[under].bytes - IP[family].bytes - bytes : -bytes)
    .move(R3, ROOM_AT_MAC)
    .move(R4, FIXED_GSO | NO_CSUM_RESET | (outlives ? 0 : INSIDE[family]))
    .call("skb_adjust_room")
    .jumpIf(R0, "!=", 0, turned ? "cut" : else_)
    .move(R1, R6)
    .move(R2, ONE_LESS)
    .call("csum_level")
    .load(4, R7, R6, SKB.data)
    .load(4, R2, R6, SKB.data_end)
    .move(R1, R7)
    .alu(R1, "+=", ETHERNET.bytes + IP[family].bytes)
    .jumpIf(R1, ">", R2, "cut");
  if (family !== under) a.store(2, R7, ETHERNET.type, ETHER_TYPE[family]);
}
