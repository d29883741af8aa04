/** Sending one Ethernet frame out of a device (packet(7)), which Node has no socket for. */
import { closeSync } from "node:fs";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";

const AF_PACKET = 17;
const SOCK_RAW = 3;
const SOCK_CLOEXEC = 0o2000000;
/** struct sockaddr_ll */
const ADDRESS = 20;
/** Where a frame says what is in it. */
const TYPE_AT = 12;

/**
 * Sends a whole frame, its Ethernet header included, from the network namespace of the calling thread.
 * @throws SysError when the device is gone or down, or without CAP_NET_RAW
 */
export function sendFrame(ifindex: number, frame: Uint8Array): void {
  const { call, errno } = libc();
  const fd = call.socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SysError(errno(), "socket", "opening a packet socket");
  try {
    const bytes = Buffer.from(frame);
    const address = Buffer.alloc(ADDRESS);
    address.writeUInt16LE(AF_PACKET, 0);
    bytes.copy(address, 2, TYPE_AT, TYPE_AT + 2);
    address.writeInt32LE(ifindex, 4);
    if (call.sendto(fd, bytes, BigInt(bytes.length), 0, address, ADDRESS) < 0n)
      throw new SysError(errno(), "sendto", `sending a frame from device ${ifindex}`);
  } finally {
    closeSync(fd);
  }
}
