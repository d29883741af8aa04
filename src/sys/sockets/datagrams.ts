/** A UDP socket whose datagrams are never cut in pieces, which Node has no option for. */
import { closeSync } from "node:fs";
import type { Family } from "../../addr/index.ts";
import { SysError } from "../errors.ts";
import { libc } from "../libc.ts";
import { ICMP, int32, setOption, sockaddrOf, WHOLE } from "./icmp.ts";

const SOCK_DGRAM = 2;
const SOCK_CLOEXEC = 0o2000000;
/** linux/in6.h: this socket is IPv6's alone, so that IPv4 can have one of its own at the same port. */
const IPV6_V6ONLY = [41, 26] as const;

/**
 * Opens a UDP socket of one family at a port of all addresses (0: any), as a descriptor that `dgram` takes (`bind({ fd })`) and closes. What it sends
 * has DF set (for IPv6 it gets no fragment header), whatever is remembered of the path's MTU; what the interface's MTU has no room for is refused with EMSGSIZE.
 * @throws SysError EADDRINUSE, EAFNOSUPPORT where the kernel lacks the family
 */
export function openDatagrams(family: Family, port = 0): number {
  const { call, errno } = libc();
  const fd = call.socket(ICMP[family].domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (fd < 0) throw new SysError(errno(), "socket", `opening a UDP socket for IPv${family}`);
  try {
    for (const [level, option, value] of WHOLE[family]) setOption(fd, level, option, int32(value));
    if (family === 6) setOption(fd, IPV6_V6ONLY[0], IPV6_V6ONLY[1], int32(1));
    const address = sockaddrOf(family === 4 ? "0.0.0.0" : "::");
    address.writeUInt16BE(port, 2);
    if (call.bind(fd, address, address.length) !== 0)
      throw new SysError(errno(), "bind", `binding UDP port ${port} of IPv${family}`);
  } catch (error) {
    closeSync(fd);
    throw error;
  }
  return fd;
}
