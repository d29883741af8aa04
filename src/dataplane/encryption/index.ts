/** Encryption between nodes: one WireGuard device a node, which carries the tunnels of all pod networks. */
export { Encryption, type EncryptionOptions } from "./encryption.ts";
export { WIREGUARD } from "./key.ts";
export { removeEncryption } from "./remove.ts";
export type { EncryptedPeer, EncryptionStatus } from "./status.ts";
