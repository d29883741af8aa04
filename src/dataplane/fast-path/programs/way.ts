/**
 * The way to a peer, or to the next hop where there is no tunnel. It is the kernel's own, and asked for every {@link WAY_NS}, whatever the agent does; the packet that
 * asks leaves by the kernel's neighbour entry, which so is used and looked after as by any other sender, and those that follow have the MACs that it has. If
 * the way does not lead over the device that is known as the underlay's, or the packet would not fit, the packet goes the ordinary path.
 */
import type { Family } from "../../../addr/index.ts";
import { type Assembly, R0, R1, R2, R3, R4, R6, R8, R9, R10, type Register, SKB } from "../../bpf/index.ts";
import { PEER, WAY } from "./maps.ts";
import { IP, STACK } from "./packet.ts";

/** How long what the kernel said of the way to a peer counts, in nanoseconds. */
export const WAY_NS = 10_000_000;

/** struct bpf_fib_lookup on the stack. */
const FIB = {
  at: -136,
  bytes: 64,
  family: 0,
  protocol: 1,
  length: 6,
  ifindex: 8,
  source: 16,
  destination: 32,
  own: 52,
  hop: 58,
} as const;
/** BPF_FIB_LKUP_RET_FRAG_NEEDED */
const FRAG_NEEDED = 8;
/** struct bpf_redir_neigh: a family, and an address of it in the space of the longest. */
const NEIGHBOUR = { bytes: 20, address: 4 } as const;
/** Whether this packet is the one that asked. */
const ASKED = -160;
const FAMILY: Readonly<Record<Family, number>> = { 4: 2, 6: 10 };

/** What is asked for. */
interface Question {
  /** Of the addresses. */
  family: Family;
  /** Has four bytes of the source in R1. */
  source: (at: number) => void;
  /** The protocol of what leaves; the packet's own by default. */
  protocol?: number;
  /** What comes before the packet, in bytes. */
  overhead: number;
  uplink: number;
}

const addressBytes = (family: Family): number => IP[family].destination - IP[family].source;

/** Has the way to where the entry (R8) leads in that entry, and notes whether it was asked for. */
export function findWay(a: Assembly, label: string, { family, source, protocol, overhead, uplink }: Question): void {
  a.call("ktime_get_coarse_ns")
    .store(8, R10, ASKED, 0)
    .load(8, R1, R8, WAY.asked)
    .move(R9, R0)
    .alu(R0, "-=", R1)
    .jumpIf(R0, ">", WAY_NS, `ask_${label}`)
    .load(2, R1, R8, WAY.mtu)
    .load(8, R2, R10, STACK.segment)
    .alu(R2, "+=", overhead)
    .jumpIf(R2, ">", R1, "mtu")
    .jump(`way_${label}`)
    .label(`ask_${label}`)
    .store(8, R10, ASKED, 1);
  for (let at = 0; at < FIB.bytes; at += 8) a.store(8, R10, FIB.at + at, 0);
  if (protocol === undefined) a.load(8, R1, R10, STACK.protocol);
  else a.move(R1, protocol);
  a.store(1, R10, FIB.at + FIB.family, FAMILY[family])
    .store(1, R10, FIB.at + FIB.protocol, R1)
    .load(8, R1, R10, STACK.segment)
    .alu(R1, "+=", overhead)
    .store(2, R10, FIB.at + FIB.length, R1)
    .load(4, R1, R6, SKB.ifindex)
    .store(4, R10, FIB.at + FIB.ifindex, R1);
  for (let done = 0; done < addressBytes(family); done += 4) {
    source(done);
    a.store(4, R10, FIB.at + FIB.source + done, R1)
      .load(4, R1, R8, PEER.underlay + done)
      .store(4, R10, FIB.at + FIB.destination + done, R1);
  }
  a.move(R1, R6)
    .move(R2, R10)
    .alu(R2, "+=", FIB.at)
    .move(R3, FIB.bytes)
    .move(R4, 0)
    .call("fib_lookup")
    .jumpIf(R0, "==", FRAG_NEEDED, "mtu")
    .jumpIf(R0, "!=", 0, "route")
    .load(4, R1, R10, FIB.at + FIB.ifindex)
    .jumpIf(R1, "!=", uplink, "route");
  // The kernel has put the MTU where the length was.
  for (const [from, to, beside] of [
    [FIB.own, WAY.own, undefined],
    [FIB.hop, WAY.hop, FIB.length],
  ] as const) {
    bytes(a, R1, from, 3);
    if (beside !== undefined)
      a.load(2, R2, R10, FIB.at + beside)
        .alu(R2, "<<=", 48)
        .alu(R1, "|=", R2);
    a.store(8, R8, to, R1);
  }
  a.store(8, R8, WAY.asked, R9).label(`way_${label}`);
}

/** A register = so many pairs of bytes of the answer, which need not lie where a number of that size may. */
function bytes(a: Assembly, into: Register, from: number, pairs: number): void {
  a.move(into, 0);
  for (let pair = 0; pair < pairs; pair++) {
    a.load(2, R2, R10, FIB.at + from + 2 * pair);
    if (pair > 0) a.alu(R2, "<<=", 16 * pair);
    a.alu(into, "|=", R2);
  }
}

/**
 * Sends the frame, whose MACs are those of the way, over the underlay device. @param hop the family of the next hop that the entry (R8) has; absent where the
 * kernel finds that by the packet's own header
 */
export function leave(a: Assembly, label: string, uplink: number, hop?: Family): void {
  a.move(R1, uplink)
    .move(R2, 0)
    .load(8, R3, R10, ASKED)
    .jumpIf(R3, "!=", 0, `neighbour_${label}`)
    .call("redirect")
    .exit()
    .label(`neighbour_${label}`);
  if (hop === undefined) a.move(R2, 0).move(R3, 0);
  else {
    a.store(4, R10, FIB.at, FAMILY[hop]);
    for (let done = 0; done < NEIGHBOUR.bytes - NEIGHBOUR.address; done += 4)
      a.load(4, R3, R8, PEER.underlay + done).store(4, R10, FIB.at + NEIGHBOUR.address + done, R3);
    a.move(R2, R10).alu(R2, "+=", FIB.at).move(R3, NEIGHBOUR.bytes);
  }
  a.move(R4, 0).call("redirect_neigh").exit();
}
