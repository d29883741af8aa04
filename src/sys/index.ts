/** The operating system: namespaces, locks, kernel parameters and sockets; the only folder that calls libc. */
export * from "./boot.ts";
export { openDatagrams } from "./sockets/datagrams.ts";
export { bpf, pointTo } from "./bpf.ts";
export { monotonicMs } from "./clock.ts";
export { makeDirectory } from "./files/directory.ts";
export { errnoName, errnoText, SysError } from "./errors.ts";
export { Echo, type EchoAnswer, type EchoRequest } from "./sockets/echo.ts";
export { watchArrivals } from "./sockets/arrivals.ts";
export * from "./ethtool.ts";
export * from "./files/files.ts";
export { attachFilter, type FilterInstruction, LOAD_WORD, numberInFilter } from "./sockets/filter.ts";
export { sendFrame } from "./sockets/frame-sender.ts";
export { FrameTap, type FrameTapOptions, MAX_TAPPED } from "./sockets/frame-tap.ts";
export { GoneFiles } from "./files/gone.ts";
export * from "./files/lock.ts";
export * from "./sockets/multicast.ts";
export { releaseFreed } from "./memory.ts";
export * from "./netns.ts";
export { checksum, sockaddrOf } from "./sockets/icmp.ts";
export { type Arrived, ProbeSocket } from "./sockets/probe-socket.ts";
export { type RawPacket, reservePort, sendPacket, transportChecksum } from "./sockets/raw-packet.ts";
export { processIds } from "./processes.ts";
export { RememberedWord } from "./files/remembered-word.ts";
export { PathWatch } from "./files/path-watch.ts";
export * from "./sockets/socket.ts";
export * from "./sysctl.ts";
export {
  arrival,
  type Handed,
  type PeerCredentials,
  peerCredentials,
  peerNetns,
  receiveDescriptor,
  sendDescriptor,
  sendNow,
} from "./sockets/unix-socket.ts";
