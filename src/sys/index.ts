/** The operating system: namespaces, locks, kernel parameters and sockets; the only folder that calls libc. */
export * from "./boot.ts";
export { monotonicMs } from "./clock.ts";
export { makeDirectory } from "./directory.ts";
export { errnoName, errnoText, SysError } from "./errors.ts";
export { Echo, type EchoAnswer, type EchoRequest } from "./echo.ts";
export * from "./ethtool.ts";
export * from "./files.ts";
export { FrameTap, type FrameTapOptions, MAX_TAPPED } from "./frame-tap.ts";
export { GoneFiles } from "./gone.ts";
export * from "./lock.ts";
export * from "./multicast.ts";
export * from "./netns.ts";
export { PathWatch } from "./path-watch.ts";
export * from "./socket.ts";
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
} from "./unix-socket.ts";
