/**
 * A datagram socket to the kernel (netlink(7)) with exactly what Skylane needs of it: options, blocking and
 * non-blocking reads that tell who sent what and whether it was cut, and its own namespace as a descriptor. Node
 * has no such socket, and its event loop cannot tell a receive overrun from a broken descriptor.
 */
import { closeSync } from "node:fs";
import { constants } from "node:os";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";

const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
const SOL_SOCKET = 1;
const SO_SNDBUF = 7;
const SO_RCVBUF = 8;
const SO_RCVTIMEO = 20;
const SO_SNDBUFFORCE = 32;
const SO_RCVBUFFORCE = 33;
const SO_MEMINFO = 55;
/** linux/sock_diag.h: how many figures SO_MEMINFO has, and which of them counts what was dropped. */
const MEMINFO_WORDS = 9;
const SK_MEMINFO_DROPS = 8;
const SOL_NETLINK = 270;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
/** linux/sockios.h: the network namespace of a socket, as a new file descriptor. */
const SIOCGSKNS = 0x894cn;
const ADDRESS_LENGTH = 12;
const NOTHING = Buffer.alloc(0);

/** What {@link KernelSocket.receive} found. */
export interface Received {
  /** Bytes in the buffer. */
  length: number;
  /** The datagram was longer than the buffer; what is in it ends anywhere. */
  truncated: boolean;
  /** Port of the sender: 0 is the kernel. */
  sender: number;
}

/** A netlink socket of the calling thread's network namespace. */
export class KernelSocket implements Disposable {
  readonly fd: number;
  /** Our port (nl_pid), which the kernel chose. */
  readonly port: number;
  readonly #address = Buffer.alloc(ADDRESS_LENGTH);
  readonly #addressLength = Buffer.alloc(4);
  #open = true;

  private constructor(fd: number, port: number) {
    this.fd = fd;
    this.port = port;
  }

  /**
   * Opens and binds a socket of a netlink protocol, a member of the multicast groups whose bits are set (bit 0 is group 1).
   * @throws SysError
   */
  static open(protocol: number, groups = 0): KernelSocket {
    const { call, errno } = libc();
    const fd = call.socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, protocol);
    if (fd < 0) throw new SysError(errno(), "socket", "opening a netlink socket");
    try {
      const address = Buffer.alloc(ADDRESS_LENGTH);
      address.writeUInt16LE(AF_NETLINK, 0);
      address.writeUInt32LE(groups, 8);
      if (call.bind(fd, address, ADDRESS_LENGTH) !== 0) throw new SysError(errno(), "bind", "binding a netlink socket");
      const length = Buffer.alloc(4);
      length.writeUInt32LE(ADDRESS_LENGTH, 0);
      if (call.getsockname(fd, address, length) !== 0) {
        throw new SysError(errno(), "getsockname", "asking for a netlink socket's port");
      }
      return new KernelSocket(fd, address.readUInt32LE(4));
    } catch (error) {
      closeSync(fd);
      throw error;
    }
  }

  /** Switches a boolean option of the netlink level on. Returns false where this kernel does not know it. @throws SysError */
  enable(option: number): boolean {
    const errno = this.#set(SOL_NETLINK, option, 1);
    if (errno === constants.errno.ENOPROTOOPT) return false;
    if (errno !== 0) throw new SysError(errno, "setsockopt", `setting netlink option ${option}`);
    return true;
  }

  /**
   * Room for what has arrived and was not read yet, in bytes. Where the system's limit may not be passed
   * (no CAP_NET_ADMIN) as much as the limit allows. @throws SysError
   */
  setReceiveBuffer(bytes: number): void {
    let errno = this.#set(SOL_SOCKET, SO_RCVBUFFORCE, bytes);
    if (errno === constants.errno.EPERM) errno = this.#set(SOL_SOCKET, SO_RCVBUF, bytes);
    if (errno !== 0) throw new SysError(errno, "setsockopt", "sizing a netlink socket's receive buffer");
  }

  /**
   * Room for what is being sent, in bytes; a longer message fails with EMSGSIZE. Where the system's limit may not be passed
   * (no CAP_NET_ADMIN) as much as the limit allows. @throws SysError
   */
  setSendBuffer(bytes: number): void {
    let errno = this.#set(SOL_SOCKET, SO_SNDBUFFORCE, bytes);
    if (errno === constants.errno.EPERM) errno = this.#set(SOL_SOCKET, SO_SNDBUF, bytes);
    if (errno !== 0) throw new SysError(errno, "setsockopt", "sizing a netlink socket's send buffer");
  }

  /** How many datagrams the kernel has dropped as there was no room for them (sock(7), SO_MEMINFO). @throws SysError */
  dropped(): number {
    const { call, errno } = libc();
    const figures = Buffer.alloc(MEMINFO_WORDS * 4);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(figures.length, 0);
    if (call.getsockopt(this.fd, SOL_SOCKET, SO_MEMINFO, figures, length) !== 0)
      throw new SysError(errno(), "getsockopt", "asking what a netlink socket has dropped");
    return figures.readUInt32LE(SK_MEMINFO_DROPS * 4);
  }

  /** How long a blocking read waits before it fails with EAGAIN, in milliseconds. @throws SysError */
  setReceiveTimeout(ms: number): void {
    const { call, errno } = libc();
    const timeval = Buffer.alloc(16);
    // rounded before it is split: 1999.9996 ms must not become 1 s and 1,000,000 µs, which the kernel refuses
    const us = Math.round(ms * 1000);
    timeval.writeBigInt64LE(BigInt(Math.trunc(us / 1_000_000)), 0);
    timeval.writeBigInt64LE(BigInt(us % 1_000_000), 8);
    if (call.setsockopt(this.fd, SOL_SOCKET, SO_RCVTIMEO, timeval, timeval.length) !== 0) {
      throw new SysError(errno(), "setsockopt", "setting a netlink socket's receive timeout");
    }
  }

  /**
   * Sends the first `length` bytes to a port: 0 is the kernel, which does the work before this returns. Without `wait`
   * a full queue of the receiver is an error. @throws SysError EAGAIN when not waiting, EMSGSIZE, EPERM …
   */
  send(buffer: Buffer, length: number, port = 0, wait = true): void {
    const { call, errno } = libc();
    const address = Buffer.alloc(ADDRESS_LENGTH);
    address.writeUInt16LE(AF_NETLINK, 0);
    address.writeUInt32LE(port, 4);
    const sent = call.sendto(this.fd, buffer, BigInt(length), wait ? 0 : MSG_DONTWAIT, address, ADDRESS_LENGTH);
    if (sent < 0n) throw new SysError(errno(), "sendto", "sending to a netlink socket");
  }

  /**
   * Reads one datagram into a buffer; returns the error number when there is none: EAGAIN (timeout, or nothing there
   * when not waiting), EINTR, ENOBUFS (the kernel had to drop messages). Expected errors are values here since
   * every reader handles them.
   */
  receive(buffer: Buffer, wait: boolean): Received | number {
    const { call, errno } = libc();
    this.#addressLength.writeUInt32LE(ADDRESS_LENGTH, 0);
    const flags = wait ? MSG_TRUNC : MSG_TRUNC | MSG_DONTWAIT;
    const size = call.recvfrom(this.fd, buffer, BigInt(buffer.length), flags, this.#address, this.#addressLength);
    if (size < 0n) return errno();
    const length = Number(size);
    return {
      length: Math.min(length, buffer.length),
      truncated: length > buffer.length,
      sender: this.#address.readUInt32LE(4),
    };
  }

  /** A file descriptor of the namespace to which the socket belongs; the caller closes it. @throws SysError EPERM without CAP_NET_ADMIN */
  netns(): number {
    const { call, errno } = libc();
    const fd = call.ioctl(this.fd, SIOCGSKNS, NOTHING);
    if (fd < 0) throw new SysError(errno(), "ioctl", "asking for a netlink socket's network namespace");
    return fd;
  }

  /** Closes the socket; a second call does nothing. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeSync(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #set(level: number, option: number, value: number): number {
    const { call, errno } = libc();
    const data = Buffer.alloc(4);
    data.writeInt32LE(value, 0);
    return call.setsockopt(this.fd, level, option, data, data.length) === 0 ? 0 : errno();
  }
}
