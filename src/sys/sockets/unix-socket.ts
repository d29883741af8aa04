/**
 * What Node's Unix sockets lack: who is at the other end, open files that it hands over, and a send that says at once
 * whether it is still there. All work on the descriptor of a connection of `node:net`.
 */
import { closeSync } from "node:fs";
import type { Socket } from "node:net";
import { watchArrivals } from "./arrivals.ts";
import { errnoName, SysError } from "../errors.ts";
import { libc } from "../libc.ts";
import { netnsIdentity, type NetnsIdentity } from "../netns.ts";

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** struct ucred: pid, uid, gid, 32 bits each (unix(7)). */
const UCRED_LENGTH = 12;
const MSG_CMSG_CLOEXEC = 0x4000_0000;
const SCM_RIGHTS = 1;
/** linux/sockios.h: a descriptor of the network namespace of a socket; needs CAP_NET_ADMIN there (Linux 4.10). */
const SIOCGSKNS = 0x894cn;
const NOBODY = Buffer.alloc(0);
/** struct msghdr, struct iovec and room for one struct cmsghdr with a descriptor, on 64-bit machines (recvmsg(2), cmsg(3)). */
const MSGHDR = 56;
const IOVEC = 16;
const CMSGHDR = 16;
const CONTROL = CMSGHDR + 8;

/** The kernel's words for a connection that nobody reads any more. */
const GONE = new Set(["EPIPE", "ECONNRESET", "ENOTCONN", "EBADF"]);

/** A process as the kernel saw it when it connected. */
export interface PeerCredentials {
  pid: number;
  uid: number;
  gid: number;
}

/** The descriptor of a connection; `undefined` once it is closed. Node has no public name for it. */
function descriptorOf(socket: Socket): number | undefined {
  const fd = (socket as unknown as { _handle?: { fd?: number } | null })._handle?.fd;
  return fd !== undefined && fd >= 0 ? fd : undefined;
}

/** Who connected; `undefined` when the connection is closed already. @throws SysError */
export function peerCredentials(socket: Socket): PeerCredentials | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  const { call, errno } = libc();
  const credentials = Buffer.alloc(UCRED_LENGTH);
  const length = Buffer.alloc(4);
  length.writeUInt32LE(UCRED_LENGTH, 0);
  if (call.getsockopt(fd, SOL_SOCKET, SO_PEERCRED, credentials, length) !== 0) {
    throw new SysError(errno(), "getsockopt", "asking who connected to a Unix socket");
  }
  return { pid: credentials.readInt32LE(0), uid: credentials.readUInt32LE(4), gid: credentials.readUInt32LE(8) };
}

/**
 * The network namespace in which whoever connected made its socket; `undefined` when the connection is closed already. The
 * kernel's end of a connection is made in the namespace of the other one (unix_stream_connect in net/unix/af_unix.c), so nothing
 * that the other side says has a part in it. @throws SysError
 */
export function peerNetns(socket: Socket): NetnsIdentity | undefined {
  const fd = descriptorOf(socket);
  if (fd === undefined) return undefined;
  const { call, errno } = libc();
  const netns = call.ioctl(fd, SIOCGSKNS, NOBODY);
  if (netns < 0) throw new SysError(errno(), "ioctl", "asking from which network namespace somebody has connected");
  try {
    return netnsIdentity(netns);
  } finally {
    closeSync(netns);
  }
}

/**
 * Resolves when there is something to read on a connection from which Node reads nothing yet, or it is closed.
 * @throws SysError
 */
export function arrival(socket: Socket): Promise<void> {
  const fd = descriptorOf(socket);
  if (fd === undefined) return Promise.resolve();
  return new Promise((resolve) => {
    const done = (): void => {
      watch[Symbol.dispose]();
      socket.off("close", done);
      resolve();
    };
    const watch = watchArrivals(fd, done);
    socket.once("close", done);
  });
}

/**
 * Sends a few bytes within the call, past whatever Node still has to send: only for a connection on which nothing was
 * written yet. Returns false when the other end will not read them any more.
 * @throws SysError for any other reason that the kernel has
 */
export function sendNow(socket: Socket, data: Buffer): boolean {
  const fd = descriptorOf(socket);
  if (fd === undefined) return false;
  const { call, errno } = libc();
  const sent = call.sendto(fd, data, BigInt(data.length), MSG_DONTWAIT | MSG_NOSIGNAL, NOBODY, 0);
  if (sent === BigInt(data.length)) return true;
  const number = sent < 0n ? errno() : 0;
  if (GONE.has(errnoName(number))) return false;
  throw new SysError(number, "sendto", "sending on a Unix socket");
}

/**
 * Sends a few bytes and an open file with them within the call, as {@link sendNow}. The file stays the caller's. Returns false
 * when the other end will not read them any more. @throws SysError
 */
export function sendDescriptor(socket: Socket, data: Buffer, file: number): boolean {
  const fd = descriptorOf(socket);
  if (fd === undefined) return false;
  const { call, errno, pointTo } = libc();
  const vector = Buffer.alloc(IOVEC);
  const control = Buffer.alloc(CONTROL);
  pointTo(vector, 0, data);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  control.writeBigUInt64LE(BigInt(CMSGHDR + 4), 0);
  control.writeInt32LE(SOL_SOCKET, 8);
  control.writeInt32LE(SCM_RIGHTS, 12);
  control.writeInt32LE(file, CMSGHDR);
  const message = headOf(vector, control);
  const sent = call.sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
  if (sent === BigInt(data.length)) return true;
  const number = sent < 0n ? errno() : 0;
  if (GONE.has(errnoName(number))) return false;
  throw new SysError(number, "sendmsg", "handing over an open file on a Unix socket");
}

/** struct msghdr of one vector and one control message (recvmsg(2)). */
function headOf(vector: Buffer, control: Buffer): Buffer {
  const { pointTo } = libc();
  const message = Buffer.alloc(MSGHDR);
  pointTo(message, 16, vector);
  message.writeBigUInt64LE(1n, 24);
  pointTo(message, 32, control);
  message.writeBigUInt64LE(BigInt(CONTROL), 40);
  return message;
}

/** What {@link receiveDescriptor} found. */
export type Handed = { fd: number | undefined } | "nothing yet" | "too many" | "closed";

/**
 * Reads one byte and the open file that came with it, if one did; the caller closes that. Of more than one none is kept. Only for a connection from which Node
 * reads nothing yet (`pauseOnConnect`): its own reading drops open files. @throws SysError
 */
export function receiveDescriptor(socket: Socket): Handed {
  const connection = descriptorOf(socket);
  if (connection === undefined) return "closed";
  const { call, errno, pointTo } = libc();
  const byte = Buffer.alloc(1);
  const vector = Buffer.alloc(IOVEC);
  const control = Buffer.alloc(CONTROL);
  pointTo(vector, 0, byte);
  vector.writeBigUInt64LE(1n, 8);
  const message = headOf(vector, control);
  const got = call.recvmsg(connection, message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
  if (got < 0n) {
    const number = errno();
    if (errnoName(number) === "EAGAIN") return "nothing yet";
    if (errnoName(number) === "ECONNRESET") return "closed";
    throw new SysError(number, "recvmsg", "receiving on a Unix socket");
  }
  if (got === 0n) return "closed";
  const descriptors = descriptorsIn(control, message.readBigUInt64LE(40));
  // Those for which there is no room the kernel has closed (MSG_CTRUNC).
  if (descriptors.length < 2) return { fd: descriptors[0] };
  for (const fd of descriptors) closeSync(fd);
  return "too many";
}

/** The descriptors of a control message: there is room for two, so that two are seen to be more than one (cmsg(3)). */
function descriptorsIn(control: Buffer, length: bigint): number[] {
  if (length < BigInt(CMSGHDR + 4)) return [];
  if (control.readInt32LE(8) !== SOL_SOCKET || control.readInt32LE(12) !== SCM_RIGHTS) return [];
  const end = Math.min(Number(control.readBigUInt64LE(0)), CONTROL);
  return Array.from({ length: Math.floor((end - CMSGHDR) / 4) }, (_, n) => control.readInt32LE(CMSGHDR + 4 * n));
}
