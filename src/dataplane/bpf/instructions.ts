/**
 * Words of the BPF instruction set (RFC 9669) and of the kernel's functions for programs (linux/bpf.h), as far as programs here use them.
 */

/** A register: R0 has what a call returns, R1 to R5 are a call's arguments and gone after it, R6 to R9 stay, R10 is the end of the stack. */
export interface Register {
  readonly register: number;
}
const register = (number: number): Register => ({ register: number });
export const [R0, R1, R2, R3, R4, R5, R6, R7, R8, R9, R10] = Array.from({ length: 11 }, (_, n) => register(n)) as [
  Register,
  Register,
  Register,
  Register,
  Register,
  Register,
  Register,
  Register,
  Register,
  Register,
  Register,
];

/** Bytes that an instruction loads or stores. */
export type Size = 1 | 2 | 4 | 8;
/** Size bits of a load or store (BPF_B, BPF_H, BPF_W, BPF_DW). */
export const SIZE: Readonly<Record<Size, number>> = { 1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18 };

/** Operations on a register, by what a reader expects to see. */
export const ALU = {
  "+=": 0x00,
  "-=": 0x10,
  "*=": 0x20,
  "|=": 0x40,
  "&=": 0x50,
  "<<=": 0x60,
  ">>=": 0x70,
  "^=": 0xa0,
} as const;

/** Comparisons; all of unsigned numbers. */
export const JUMP = { "==": 0x10, ">": 0x20, ">=": 0x30, "&": 0x40, "!=": 0x50, "<": 0xa0, "<=": 0xb0 } as const;

/** Numbers of the kernel's helper functions (enum bpf_func_id). */
export const HELPER = {
  map_lookup_elem: 1,
  get_prandom_u32: 7,
  redirect: 23,
  skb_change_proto: 31,
  get_hash_recalc: 34,
  skb_pull_data: 39,
  skb_adjust_room: 50,
  fib_lookup: 69,
  csum_level: 135,
  redirect_neigh: 152,
  redirect_peer: 155,
  ktime_get_coarse_ns: 160,
} as const;
export type Helper = keyof typeof HELPER;

/** Offsets in the context of a program at a device, struct __sk_buff. */
export const SKB = {
  len: 0,
  pkt_type: 4,
  vlan_present: 20,
  ifindex: 40,
  data: 76,
  data_end: 80,
  gso_size: 176,
} as const;

/** A number whose bytes are in network order, as a load of it from a packet gives it on this (little-endian) machine. */
export const be16 = (value: number): number => ((value & 0xff) << 8) | ((value >> 8) & 0xff);
