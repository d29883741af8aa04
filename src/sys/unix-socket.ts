/**
 * What Node's Unix sockets lack: who is at the other end, and a send that says at once whether the other end is still
 * there. Both work on the descriptor of a connection of `node:net`.
 */
import type { Socket } from "node:net";
import { errnoName, SysError } from "./errors.ts";
import { libc } from "./libc.ts";

const SOL_SOCKET = 1;
const SO_PEERCRED = 17;
const MSG_DONTWAIT = 0x40;
const MSG_NOSIGNAL = 0x4000;
/** struct ucred: pid, uid, gid, 32 bits each (unix(7)). */
const UCRED_LENGTH = 12;
const NOBODY = Buffer.alloc(0);

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
  if (["EPIPE", "ECONNRESET", "ENOTCONN", "EBADF"].includes(errnoName(number))) return false;
  throw new SysError(number, "sendto", "sending on a Unix socket");
}
