/** IP addresses, prefixes and MAC addresses as values; the only folder that imports `ipaddr.js`. */
export * from "./cidr.ts";
export { interfaceNameFault } from "./ifname.ts";
export * from "./ip.ts";
export * from "./mac.ts";
export { type SocketAddress, socketAddress } from "./socket-address.ts";
export { sha256, sha256Hex } from "./sha256.ts";
