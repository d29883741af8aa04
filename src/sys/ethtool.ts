/**
 * The one offload setting that Skylane needs, by the ethtool ioctl (linux/ethtool.h) instead of the ethtool program.
 */
import { closeSync } from "node:fs";
import { constants } from "node:os";
import { SysError } from "./errors.ts";
import { libc } from "./libc.ts";

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
const SIOCETHTOOL = 0x8946n;
const ETHTOOL_GTXCSUM = 0x16;
const ETHTOOL_STXCSUM = 0x17;
const IFNAMSIZ = 16;

/** Runs one ethtool command that carries a single value, on a device of the calling thread's namespace. */
function ethtool(ifname: string, command: number, value: number, what: string): number {
  const name = Buffer.from(ifname);
  if (name.length === 0 || name.length >= IFNAMSIZ) throw new SysError(constants.errno.ENODEV, "ioctl", what);
  const { call, errno, pointTo } = libc();
  const request = Buffer.alloc(8);
  request.writeUInt32LE(command, 0);
  request.writeUInt32LE(value, 4);
  const ifreq = Buffer.alloc(40);
  name.copy(ifreq);
  pointTo(ifreq, IFNAMSIZ, request);
  const fd = call.socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SysError(errno(), "socket", what);
  try {
    if (call.ioctl(fd, SIOCETHTOOL, ifreq) !== 0) throw new SysError(errno(), "ioctl", what);
    return request.readUInt32LE(4);
  } finally {
    closeSync(fd);
  }
}

/** Switches a device's transmit checksum offload. @throws SysError ENODEV, EOPNOTSUPP where it is fixed … */
export function setTxChecksum(ifname: string, on: boolean): void {
  ethtool(ifname, ETHTOOL_STXCSUM, on ? 1 : 0, `switching transmit checksum offload of ${ifname} ${on ? "on" : "off"}`);
}

/** Whether a device's transmit checksum offload is on. @throws SysError */
export const txChecksum = (ifname: string): boolean =>
  ethtool(ifname, ETHTOOL_GTXCSUM, 0, `reading transmit checksum offload of ${ifname}`) !== 0;
