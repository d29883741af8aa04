/** Raw sockets for ICMP echo (RFC 792; RFC 4443, section 4), which Node has none of: how one is opened, and what the families have of their own. */
import { closeSync } from "node:fs";
import { type Family, familyOf, ipToBytes } from "../../addr/index.ts";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";

const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
/** IP_PMTUDISC_PROBE: set DF, ignore the path MTU that is known. */
const PMTUDISC_PROBE = 3;

/** Options (level, name, value) by which a socket's packets are never cut in pieces, and always try the path itself: IP_MTU_DISCOVER, IPV6_DONTFRAG. */
export const WHOLE: Readonly<Record<Family, readonly (readonly [level: number, option: number, value: number])[]>> = {
  4: [[0, 10, PMTUDISC_PROBE]],
  6: [
    [41, 23, PMTUDISC_PROBE],
    [41, 62, 1],
  ],
};

/** What differs between the families, from linux/in.h, linux/in6.h, linux/icmp.h and linux/icmpv6.h. */
export const ICMP = {
  4: {
    domain: 2,
    protocol: 1,
    request: 8,
    reply: 0,
    /** Bytes of the IP header and of ICMP's own. */
    headers: 20 + 8,
    // ICMP_FILTER of SOL_RAW, a bit for each type
    filter: { level: 255, option: 1, words: 1 },
    /** Of the socket's address, and where in it the IP address begins. */
    address: { length: 16, at: 4 },
  },
  6: {
    domain: 10,
    protocol: 58,
    request: 128,
    reply: 129,
    headers: 40 + 8,
    // ICMP6_FILTER
    filter: { level: 58, option: 1, words: 8 },
    address: { length: 28, at: 8 },
  },
} as const;

/** A filter that keeps all types out but one: a bit that is set keeps its type out. */
function passOnly(words: number, type: number): Buffer {
  const mask = Buffer.alloc(words * 4, 0xff);
  const word = type >> 5;
  mask.writeUInt32LE((0xffff_ffff & ~(1 << (type & 31))) >>> 0, word * 4);
  return mask;
}

/** A C `int`. */
export function int32(value: number): Buffer {
  const data = Buffer.alloc(4);
  data.writeInt32LE(value);
  return data;
}

/** Sets an option of a socket. @throws SysError */
export function setOption(fd: number, level: number, option: number, value: Buffer): void {
  const { call, errno } = libc();
  if (call.setsockopt(fd, level, option, value, value.length) !== 0)
    throw new SysError(errno(), "setsockopt", `setting option ${option} of a socket`);
}

/**
 * Opens a raw socket that receives ICMP messages of one type, in the network namespace of the calling thread. What it sends is never
 * fragmented on the way out (DF; for IPv6 no fragment header), and what the kernel remembers of the path's MTU is left aside, so that every
 * packet asks the path itself.
 * @throws SysError EPERM without CAP_NET_RAW, EAFNOSUPPORT where the kernel lacks the family
 */
export function openIcmp(family: Family, type: number): number {
  const { call, errno } = libc();
  const { domain, protocol, filter } = ICMP[family];
  const fd = call.socket(domain, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw new SysError(errno(), "socket", `opening an ICMP socket for IPv${family}`);
  try {
    setOption(fd, filter.level, filter.option, passOnly(filter.words, type));
    for (const [level, name, value] of WHOLE[family]) setOption(fd, level, name, int32(value));
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}

/** RFC 1071, of the first bytes of a message whose others are zero. */
export function checksum(data: Uint8Array, length = data.length): number {
  let sum = 0;
  for (let i = 0; i < length; i += 2)
    sum += ((data[i] as number) << 8) + (i + 1 < length ? (data[i + 1] as number) : 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** struct sockaddr_in or sockaddr_in6 of an address. */
export function sockaddrOf(ip: string): Buffer {
  const { domain, address } = ICMP[familyOf(ip)];
  const data = Buffer.alloc(address.length);
  data.writeUInt16LE(domain, 0);
  data.set(ipToBytes(ip), address.at);
  return data;
}
