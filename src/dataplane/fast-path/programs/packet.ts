/**
 * Parts that both programs are made of: reading a packet of either family, counting, and the changes that forwarding makes. In all of them R6 is the
 * context and R7 the beginning of the frame; R8 is the end of what can be read until an entry of a map takes its place. Checks leave for the place
 * that is called by the outcome; nothing has been changed by then.
 */
import { type Family, macToBytes } from "../../../addr/index.ts";
import { type Assembly, be16, R0, R1, R2, R6, R7, R8, R9, R10, SKB } from "../../bpf/index.ts";
import type { TunnelSettings } from "./settings.ts";
import { counterOf, type Direction, type Outcome, OUTCOMES } from "./outcomes.ts";
import { numberKey, PEER, POD } from "./maps.ts";
import { HOST_MAC } from "../../pod-link/index.ts";

/** linux/if_ether.h, linux/in.h */
export const ETHERNET = { destination: 0, source: 6, type: 12, bytes: 14 } as const;
export const ETHER_TYPE: Readonly<Record<Family, number>> = { 4: be16(0x0800), 6: be16(0x86dd) };
export const PROTOCOL = { TCP: 6, UDP: 17 } as const;
export const UDP_BYTES = 8;
const DNS_PORT = be16(53);

/** Where fields of an IP header are. */
export const IP: Readonly<
  Record<Family, { bytes: number; source: number; destination: number; hops: number; next: number; length: number }>
> = {
  4: { bytes: 20, source: 12, destination: 16, hops: 8, next: 9, length: 2 },
  6: { bytes: 40, source: 8, destination: 24, hops: 7, next: 6, length: 4 },
};

/** TC_ACT_SHOT, and TCX_NEXT: whoever comes next at this device, and then the ordinary path. */
export const DROP = 2;
const NEXT = -1;
/** TCP's FIN, SYN and RST. */
const BEGIN_OR_END = 0x07;
export const TCP = { bytes: 20, offset: 12, flags: 13 } as const;
const PACKET_HOST = 0;
/** The longest headers that are read of an inner packet: IPv6 and TCP. */
const INNER = 60;
/** Those of IPv4 and TCP: who has so much has the rest where it has put this. */
const USUAL = 40;

/** Places on the stack, from its end (R10). */
export const STACK = {
  protocol: -8,
  headerBytes: -16,
  segment: -24,
  conntrack: -40,
  prefix: -64,
  counter: -68,
} as const;

/** Takes over the context, and refuses what is not to this node's MAC or has a VLAN tag; and everything where the agent is gone, whom the program outlives. */
export function begin(a: Assembly, refused: string, { outlives }: Pick<TunnelSettings, "outlives">): void {
  a.move(R6, R1);
  if (outlives)
    a.store(4, R10, STACK.counter, 0)
      .move(R2, R10)
      .alu(R2, "+=", STACK.counter)
      .map(R1, "alive")
      .call("map_lookup_elem")
      .jumpIf(R0, "==", 0, "next")
      .load(8, R9, R0, 0)
      .call("ktime_get_coarse_ns")
      .jumpIf(R0, ">", R9, "next");
  a.load(4, R7, R6, SKB.data)
    .load(4, R8, R6, SKB.data_end)
    .load(4, R1, R6, SKB.pkt_type)
    .jumpIf(R1, "!=", PACKET_HOST, refused)
    .load(4, R1, R6, SKB.vlan_present)
    .jumpIf(R1, "!=", 0, refused);
}

/** Whether so many bytes from the frame's beginning can be read. */
export function readable(a: Assembly, bytes: number, else_: string): void {
  a.move(R2, R7).alu(R2, "+=", bytes).jumpIf(R2, ">", R8, else_);
}

/** Has the kernel put all headers where they can be read, if they are not: some drivers leave them in pages. What is short has nothing more. */
export function pull(a: Assembly, inner: number, refused: string): void {
  a.move(R2, R7)
    .alu(R2, "+=", inner + USUAL)
    .jumpIf(R2, "<=", R8, "headers")
    .move(R1, R8)
    .alu(R1, "-=", R7)
    .load(4, R2, R6, SKB.len)
    .jumpIf(R1, "==", R2, "headers")
    .move(R1, R6)
    .jumpIf(R2, "<=", inner + INNER, "pull")
    .move(R2, inner + INNER)
    .label("pull")
    .call("skb_pull_data")
    .jumpIf(R0, "!=", 0, refused)
    .load(4, R7, R6, SKB.data)
    .load(4, R8, R6, SKB.data_end)
    .label("headers");
}

/**
 * Checks that at a place there is a whole TCP segment or UDP datagram in the simplest of packets, and notes its protocol and the length of its header.
 */
export function readPacket(a: Assembly, family: Family, at: number): void {
  const ip = IP[family];
  const above = at + ip.bytes;
  readable(a, above + UDP_BYTES, "shape");
  a.load(1, R1, R7, at);
  if (family === 4) {
    a.jumpIf(R1, "!=", 0x45, "shape");
    // More fragments, or not the first one.
    a.load(2, R1, R7, at + 6)
      .alu(R1, "&=", be16(0x3fff))
      .jumpIf(R1, "!=", 0, "shape");
  } else a.alu(R1, "&=", 0xf0).jumpIf(R1, "!=", 0x60, "shape");
  a.load(1, R1, R7, at + ip.hops).jumpIf(R1, "<=", 1, "shape");
  // What it says of its length is what there is: nothing was cut off or put behind it.
  a.load(2, R1, R7, at + ip.length).swap(R1, 16);
  if (family === 6) a.alu(R1, "+=", ip.bytes);
  a.load(4, R2, R6, SKB.len).alu(R2, "-=", at).jumpIf(R1, "!=", R2, "shape");
  a.load(1, R9, R7, at + ip.next)
    .store(8, R10, STACK.protocol, R9)
    .jumpIf(R9, "==", PROTOCOL.UDP, `udp${family}`)
    .jumpIf(R9, "!=", PROTOCOL.TCP, "protocol");
  readable(a, above + TCP.bytes, "shape");
  a.load(1, R1, R7, above + TCP.flags)
    .alu(R1, "&=", BEGIN_OR_END)
    .jumpIf(R1, "!=", 0, "flags")
    .load(1, R1, R7, above + TCP.offset)
    .alu(R1, ">>=", 4)
    .alu(R1, "<<=", 2)
    .store(8, R10, STACK.headerBytes, R1)
    .jump(`read${family}`);
  // A datagram that stands for several is left to the ordinary path: the tunnel's marks stay on such a one.
  a.label(`udp${family}`)
    .load(4, R1, R6, SKB.gso_size)
    .jumpIf(R1, "!=", 0, "shape")
    .load(2, R1, R7, above)
    .jumpIf(R1, "==", DNS_PORT, "names")
    .store(8, R10, STACK.headerBytes, UDP_BYTES)
    .label(`read${family}`);
}

/** Notes how long the packet, or each that it stands for, is with its IP header, and checks that against R9. */
export function fits(a: Assembly, family: Family, at: number, label: string): void {
  a.load(4, R1, R6, SKB.gso_size)
    .jumpIf(R1, "!=", 0, `segments_${label}`)
    .load(4, R1, R6, SKB.len)
    .alu(R1, "-=", at)
    .jump(`length_${label}`)
    .label(`segments_${label}`)
    .load(8, R2, R10, STACK.headerBytes)
    .alu(R1, "+=", R2)
    .alu(R1, "+=", IP[family].bytes)
    .label(`length_${label}`)
    .store(8, R10, STACK.segment, R1)
    .jumpIf(R1, ">", R9, "mtu");
}

/** R8 = the entry of the pod that has the packet's destination; the pod's device is there, and the packet fits through it. */
export function findPod(a: Assembly, family: Family, at: number, else_: string): void {
  a.move(R2, R7)
    .alu(R2, "+=", at + IP[family].destination)
    .map(R1, `pods${family}`)
    .call("map_lookup_elem")
    .jumpIf(R0, "==", 0, else_)
    .move(R8, R0)
    .move(R2, R8)
    .map(R1, "devices")
    .call("map_lookup_elem")
    .jumpIf(R0, "==", 0, "gone")
    .load(4, R9, R8, POD.mtu);
  fits(a, family, at, `pod${family}`);
}

/** Goes on if the peer whose entry is in R0 is reached through the tunnel, or without it. */
export function reachedBy(a: Assembly, how: "tunnel" | "direct", else_: string): void {
  a.load(1, R1, R0, PEER.direct).jumpIf(R1, "!=", how === "direct" ? 1 : 0, else_);
}

/** Goes on if one of the frame's two addresses is the VTEP of the peer whose entry is in R0. @param end which of them; also where it goes on else */
export function atPeer(a: Assembly, end: "source" | "destination"): void {
  const at = ETHERNET[end];
  a.load(4, R1, R7, at)
    .load(4, R2, R0, PEER.mac)
    .jumpIf(R1, "!=", R2, end)
    .load(2, R1, R7, at + 4)
    .load(2, R2, R0, PEER.mac + 4)
    .jumpIf(R1, "!=", R2, end);
}

/** The bits of a prefix in four bytes of an address, as they are loaded. @param from which bit these begin */
const maskAt = (length: number, from: number): number => {
  const bits = Math.min(32, Math.max(0, length - from));
  const mask = Buffer.alloc(4);
  mask.writeUInt32BE(bits === 0 ? 0 : (0xffff_ffff << (32 - bits)) >>> 0);
  return mask.readInt32LE();
};

/** R0 = the entry of the longest prefix that an address is in. @param field of the packet's IP header */
export function findPeer(
  a: Assembly,
  family: Family,
  at: number,
  field: "source" | "destination",
  { lengths, else_ }: { lengths: TunnelSettings["lengths"]; else_: string },
): void {
  const bytes = family === 4 ? 4 : 16;
  const found = `peer_${field}${family}_${a.length}`;
  const all = lengths[family];
  for (const [n, length] of all.entries()) {
    a.store(4, R10, STACK.prefix, length);
    for (let done = 0; done < bytes; done += 4) {
      const mask = maskAt(length, 8 * done);
      if (mask === 0) {
        a.store(4, R10, STACK.prefix + 4 + done, 0);
        continue;
      }
      a.load(4, R1, R7, at + IP[family][field] + done);
      if (mask !== -1) a.alu32(R1, "&=", mask);
      a.store(4, R10, STACK.prefix + 4 + done, R1);
    }
    a.move(R2, R10).alu(R2, "+=", STACK.prefix).map(R1, `peers${family}`).call("map_lookup_elem");
    if (n < all.length - 1) a.jumpIf(R0, "!=", 0, found);
    else a.jumpIf(R0, "==", 0, else_);
  }
  a.label(found);
}

/** One hop less, as routing does it (ip_decrease_ttl of the kernel). */
export function hop(a: Assembly, family: Family, at: number, label: string): void {
  if (family === 4)
    a.load(2, R1, R7, at + 10)
      .alu(R1, "+=", be16(0x0100))
      .jumpIf(R1, "<", 0xffff, `sum_${label}`)
      .alu(R1, "+=", 1)
      .label(`sum_${label}`)
      .store(2, R7, at + 10, R1);
  const { hops } = IP[family];
  a.load(1, R1, R7, at + hops)
    .alu(R1, "-=", 1)
    .store(1, R7, at + hops, R1);
}

/** Writes a MAC address that is known beforehand. */
export function writeMac(a: Assembly, at: number, mac: string): void {
  const bytes = Buffer.from(macToBytes(mac));
  a.store(4, R7, at, bytes.readInt32LE(0)).store(2, R7, at + 4, bytes.readUInt16LE(4));
}

/** Writes one out of the entry in R8. */
export function copyMac(a: Assembly, at: number, from: number): void {
  a.load(4, R1, R8, from)
    .store(4, R7, at, R1)
    .load(2, R1, R8, from + 4)
    .store(2, R7, at + 4, R1);
}

/** Hands the frame, whose IP header follows it, to the pod of the entry in R8. */
export function deliver(a: Assembly, family: Family, label: string): void {
  hop(a, family, ETHERNET.bytes, label);
  copyMac(a, ETHERNET.destination, POD.mac);
  writeMac(a, ETHERNET.source, HOST_MAC);
  a.load(4, R1, R8, POD.ifindex).move(R2, 0).call("redirect_peer").exit();
}

/** Adds one to a counter; R0 to R5 are gone. */
export function count(a: Assembly, direction: Direction, outcome: Outcome): void {
  a.store(4, R10, STACK.counter, numberKey(counterOf(direction, outcome)).readInt32LE());
  addOne(a, `counted_${outcome}_${a.length}`);
}

function addOne(a: Assembly, label: string): void {
  a.move(R2, R10)
    .alu(R2, "+=", STACK.counter)
    .map(R1, "counters")
    .call("map_lookup_elem")
    .jumpIf(R0, "==", 0, label)
    .load(8, R1, R0, 0)
    .alu(R1, "+=", 1)
    .store(8, R0, 0, R1)
    .label(label);
}

/**
 * The places that checks leave for: each counts why, and the packet goes on by the ordinary path. @param rest what may be done to packets of these outcomes
 * all the same; it ends the program, or leaves for "next"
 */
export function end(a: Assembly, direction: Direction, rest?: { of: ReadonlySet<Outcome>; add: () => void }): void {
  for (const outcome of OUTCOMES) {
    if (!a.leadsTo(outcome)) continue;
    a.label(outcome)
      .store(4, R10, STACK.counter, counterOf(direction, outcome))
      .jump(rest?.of.has(outcome) ? "rest" : "ordinary");
  }
  if (rest) {
    a.label("rest");
    addOne(a, "counted_rest");
    rest.add();
  }
  a.label("ordinary");
  addOne(a, "next");
  a.exit(NEXT);
}
