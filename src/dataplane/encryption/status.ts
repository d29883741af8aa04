/** How encryption between nodes stands, for people and programs. */
import { hostPrefix, socketAddress } from "../../addr/index.ts";
import type { WireguardPeerState } from "../../netlink/index.ts";
import type { Encryption, Peer } from "../../peers/index.ts";

/** One other node. */
export interface EncryptedPeer {
  node: string;
  /**
   * `encrypted`: what goes there is, and both nodes have agreed on keys; `waiting`: it would be, and they have not yet, so that nothing passes;
   * `plaintext`: it goes in the clear; `blocked`: nothing goes there.
   */
  state: "encrypted" | "waiting" | "plaintext" | "blocked";
  /** Why it is not encrypted. */
  why?: string;
  publicKey?: string;
  /** "172.30.0.12:51871" */
  endpoint?: string;
  /** How long ago both agreed on keys, in seconds. While there is traffic they do so every two minutes. */
  handshakeSeconds?: number;
  rxBytes?: number;
  txBytes?: number;
}

/** The whole. */
export interface EncryptionStatus {
  mode: Encryption;
  /** What is to be encrypted is. */
  ready: boolean;
  /** Why it is not, or how many nodes it is to. */
  message: string;
  device: string;
  publicKey?: string;
  port: number;
  peers: EncryptedPeer[];
  repairs: number;
}

/** What a peer's status is made of. */
export interface PeerInputs {
  mode: Encryption;
  ownKey: string | undefined;
  /** Why this node cannot encrypt at all. */
  error: string | undefined;
  /** Why the kernel has not taken what a peer needs, by the keys of its entries. */
  refused: (keys: readonly string[]) => string | undefined;
  state: (publicKey: string) => WireguardPeerState | undefined;
  /** In seconds since 1970. */
  now: number;
}

/** How one stands. */
export function statusOfPeer(peer: Peer, { mode, ownKey, error, refused, state, now }: PeerInputs): EncryptedPeer {
  const { node, wireguard, underlayIp } = peer;
  const off = mode === "strict" ? "blocked" : "plaintext";
  if (!wireguard)
    return { node, state: off, why: "it publishes no key: encryption is off there, or its kernel or agent cannot" };
  const { key: publicKey, port } = wireguard;
  const endpoint = socketAddress({ ip: underlayIp, port });
  const known = { node, publicKey, endpoint };
  if (publicKey === ownKey) return { ...known, state: off, why: "it publishes this node's own key" };
  if (error !== undefined) return { ...known, state: off, why: `this node cannot encrypt: ${error}` };
  const prefix = hostPrefix(underlayIp);
  const why = refused([`peer ${publicKey}`, `route ${prefix}`, `route ${prefix} nowhere`]);
  if (why !== undefined) return { ...known, state: "waiting", why };
  const stands = state(publicKey);
  const figures = stands && { rxBytes: stands.rxBytes, txBytes: stands.txBytes };
  if (stands?.lastHandshake === undefined)
    return {
      ...known,
      ...figures,
      state: "waiting",
      why: `no handshake yet: it does not know this node's key yet, or UDP to ${endpoint}, or back, does not pass`,
    };
  return {
    ...known,
    ...figures,
    state: "encrypted",
    handshakeSeconds: Math.max(0, Math.round(now - stands.lastHandshake)),
  };
}
