/** Single IP packets with a transport header of our own making (raw(7)), which Node has no socket for, and the ports that they come from. */
import { closeSync } from "node:fs";
import { familyOf, ipToBytes } from "../../addr/index.ts";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";
import { checksum, ICMP, sockaddrOf } from "./icmp.ts";

const SOCK_STREAM = 1;
const SOCK_DGRAM = 2;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;

/** Whence and where to, and the number of the protocol above IP (IANA). */
export interface RawPacket {
  from: string;
  to: string;
  protocol: number;
  /** Everything behind the IP header. */
  data: Buffer;
}

/**
 * Sends one packet with the kernel's own IP header, from the network namespace of the calling thread.
 * @throws SysError what the kernel says to it: ENETUNREACH without a route, EADDRNOTAVAIL where the source is nobody's here, EPERM where a packet filter
 * refuses it or without CAP_NET_RAW
 */
export function sendPacket({ from, to, protocol, data }: RawPacket): void {
  const { call, errno } = libc();
  const fd = call.socket(ICMP[familyOf(to)].domain, SOCK_RAW | SOCK_CLOEXEC, protocol);
  if (fd < 0) throw new SysError(errno(), "socket", "opening a raw socket");
  try {
    bindTo(fd, sockaddrOf(from), from);
    const address = sockaddrOf(to);
    if (call.sendto(fd, data, BigInt(data.length), 0, address, address.length) < 0n)
      throw new SysError(errno(), "sendto", `sending a packet to ${to}`);
  } finally {
    closeSync(fd);
  }
}

/**
 * Takes a TCP or UDP port of an address in the network namespace of the calling thread, so that nobody there speaks from it until it is disposed of.
 * Nothing is received: the kernel answers TCP segments with RST.
 * @throws SysError EADDRINUSE where somebody has it, EADDRNOTAVAIL where the address is nobody's here
 */
export function reservePort(protocol: "tcp" | "udp", ip: string, port: number): Disposable {
  const { call, errno } = libc();
  const type = protocol === "tcp" ? SOCK_STREAM : SOCK_DGRAM;
  const fd = call.socket(ICMP[familyOf(ip)].domain, type | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SysError(errno(), "socket", `opening a ${protocol} socket`);
  try {
    const address = sockaddrOf(ip);
    address.writeUInt16BE(port, 2);
    bindTo(fd, address, `${ip}, ${protocol} port ${port}`);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return { [Symbol.dispose]: () => closeSync(fd) };
}

function bindTo(fd: number, address: Buffer, what: string): void {
  const { call, errno } = libc();
  if (call.bind(fd, address, address.length) !== 0) throw new SysError(errno(), "bind", `sending from ${what}`);
}

/** The checksum of TCP, UDP and ICMPv6 (RFC 9293 section 3.1, RFC 768, RFC 8200 section 8.1): addresses, length and protocol count as well. */
export function transportChecksum({ from, to, protocol, data }: RawPacket): number {
  const rest = Buffer.alloc(8);
  rest.writeUInt32BE(data.length, 0);
  rest.writeUInt32BE(protocol, 4);
  return checksum(Buffer.concat([ipToBytes(from), ipToBytes(to), rest, data]));
}
