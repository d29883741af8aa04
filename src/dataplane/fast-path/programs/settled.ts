/**
 * The gate: whether the kernel's own connection tracking knows the packet's connection as one that was answered, that nobody translates and
 * nobody has a hand in. Services, host ports, masquerading and policies judge how connections begin, which therefore always go the ordinary path; and a
 * connection whose entry is taken away is back on it with its next packet.
 *
 * The entry is kept alive as the ordinary path would, since that does not see the packet.
 */
import type { Family } from "../../../addr/index.ts";
import { type Assembly, R0, R1, R2, R3, R4, R5, R6, R7, R9, R10 } from "../../bpf/index.ts";
import { IP, PROTOCOL, STACK } from "./packet.ts";
import type { Lifetimes, Offsets } from "./settings.ts";

/** Functions of the kernel that are called (net/netfilter/nf_conntrack_bpf.c). */
export const CONNTRACK = {
  functions: ["bpf_skb_ct_lookup", "bpf_ct_change_timeout", "bpf_ct_release"],
  members: { nf_conn: ["status", "proto"], ip_ct_tcp: ["state"] },
} as const;

/** enum ip_conntrack_status: bits of an entry. */
const STATUS = {
  ASSURED: 1 << 2,
  CONFIRMED: 1 << 3,
  SRC_NAT: 1 << 4,
  DST_NAT: 1 << 5,
  SEQ_ADJUST: 1 << 6,
  DYING: 1 << 9,
  FIXED_TIMEOUT: 1 << 10,
  TEMPLATE: 1 << 11,
  HELPER: 1 << 13,
} as const;
const SETTLED = STATUS.ASSURED | STATUS.CONFIRMED;
const JUDGED = Object.values(STATUS).reduce((all, bit) => all | bit, 0);
/** TCP_CONNTRACK_ESTABLISHED. One that is being closed lives for a minute or two, whatever is still sent. */
const ESTABLISHED = 3;
/** struct bpf_ct_opts: which namespace (-1: the packet's), an error, the protocol. */
const OPTIONS = { netns: 0, error: 4, protocol: 8, bytes: 12 } as const;
/** What a 32-bit number with a sign takes. */
const LONGEST = 0x7fff_ffff;

/** Goes on if the packet at a place is of such a connection; R8 stays. */
export function settled(
  a: Assembly,
  family: Family,
  at: number,
  { offsets, lifetimes, label }: { offsets: Offsets; lifetimes: Lifetimes; label: string },
): void {
  a.store(4, R10, STACK.conntrack + OPTIONS.netns, -1)
    .store(4, R10, STACK.conntrack + OPTIONS.error, 0)
    .load(8, R1, R10, STACK.protocol)
    .store(4, R10, STACK.conntrack + OPTIONS.protocol, R1)
    // Addresses and ports lie in the packet as the kernel's struct bpf_sock_tuple has them.
    .move(R2, R7)
    .alu(R2, "+=", at + IP[family].source)
    .move(R1, R6)
    .move(R3, IP[family].bytes - IP[family].source + 4)
    .move(R4, R10)
    .alu(R4, "+=", STACK.conntrack)
    .move(R5, OPTIONS.bytes)
    .kfunc("bpf_skb_ct_lookup")
    .jumpIf(R0, "==", 0, "unknown")
    .move(R9, R0)
    .load(8, R1, R9, offsets.status)
    .alu(R1, "&=", JUDGED)
    .jumpIf(R1, "!=", SETTLED, `unfit_${label}`)
    .move(R2, Math.min(lifetimes.udp, LONGEST))
    .load(8, R1, R10, STACK.protocol)
    .jumpIf(R1, "==", PROTOCOL.UDP, `alive_${label}`)
    .load(1, R1, R9, offsets.tcpState)
    .jumpIf(R1, "!=", ESTABLISHED, `unfit_${label}`)
    .move(R2, Math.min(lifetimes.tcp, LONGEST))
    .label(`alive_${label}`)
    .move(R1, R9)
    .kfunc("bpf_ct_change_timeout")
    .move(R1, R9)
    .kfunc("bpf_ct_release")
    .jump(`settled_${label}`)
    .label(`unfit_${label}`)
    .move(R1, R9)
    .kfunc("bpf_ct_release")
    .jump("unsettled")
    .label(`settled_${label}`);
}
