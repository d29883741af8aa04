/** How encryption between nodes stands, for people and programs. */
import { socketAddress } from "../../addr/index.ts";
import type { Encryption, Peer } from "../../peers/index.ts";
import { DEVICES } from "./lanes.ts";
import type { LanesTo } from "./reconciler.ts";
import type { Awaited } from "./rotation.ts";

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
  /** The key that is used. */
  publicKey?: string;
  /** The device by which is sent. */
  device?: string;
  /**
   * Where this node, that one or both change their keys: `next`, it is sent by the newest keys; `waits`, there was no handshake with these yet; `single`,
   * that node knows one key alone, and hears of the next one when the other is forgotten.
   */
  rotation?: "next" | "waits" | "single";
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
  /** Of two, that of the key. */
  slot?: 0 | 1;
  /** Age of the key in seconds, and at how many days another one is made; 0: never. */
  keySeconds?: number;
  keyDays: number;
  rotation?: RotationStatus;
  /** The first of up to four. */
  port: number;
  peers: EncryptedPeer[];
  repairs: number;
}

/** This node goes over to another key. */
export interface RotationStatus {
  /** Public half of the next key. */
  publicKey: string;
  /** Since when this agent waits, in seconds. */
  seconds: number;
  /** Age of the next key, in seconds: since when the node changes, whatever agents there were. */
  keySeconds: number;
  /** It takes longer than it should. */
  standsStill: boolean;
  /** Nodes that have not gone over. */
  awaited: readonly Awaited[];
}

/** What a peer's status is made of. */
export interface PeerInputs {
  mode: Encryption;
  /** Why this node cannot encrypt at all. */
  error: string | undefined;
  /** Why the kernel has not taken what a peer needs. */
  refused: (peer: Peer) => string | undefined;
  /** None to a peer that publishes a key of this node. */
  lanesTo: (peer: Peer) => LanesTo;
  /** This node goes over to another key. */
  rotates: boolean;
  /** In seconds since 1970. */
  now: number;
}

/** How one stands. */
export function statusOfPeer(peer: Peer, { mode, error, refused, lanesTo, rotates, now }: PeerInputs): EncryptedPeer {
  const { node, wireguard, underlayIp } = peer;
  const off = mode === "strict" ? "blocked" : "plaintext";
  if (!wireguard)
    return { node, state: off, why: "it publishes no key: encryption is off there, or its kernel or agent cannot" };
  const { lanes, used } = lanesTo(peer);
  const lane = lanes.find((one) => one.lane === used);
  const { key: publicKey, port } = lane ?? wireguard;
  const endpoint = socketAddress({ ip: underlayIp, port });
  const known = { node, publicKey, endpoint };
  if (error !== undefined) return { ...known, state: off, why: `this node cannot encrypt: ${error}` };
  if (!lane) return { ...known, state: off, why: "it publishes this node's own key" };
  const rotation = rotationOf(lanes, lane, wireguard.slot === undefined, rotates);
  const by = { ...known, device: DEVICES[lane.lane], ...(rotation && { rotation }) };
  const why = refused(peer);
  if (why !== undefined) return { ...by, state: "waiting", why };
  const stands = lane.state;
  const figures = stands && { rxBytes: stands.rxBytes, txBytes: stands.txBytes };
  if (stands?.lastHandshake === undefined)
    return {
      ...by,
      ...figures,
      state: "waiting",
      why: `no handshake yet: it does not know this node's key yet, or UDP to ${endpoint}, or back, does not pass`,
    };
  return {
    ...by,
    ...figures,
    state: "encrypted",
    handshakeSeconds: Math.max(0, Math.round(now - stands.lastHandshake)),
  };
}

function rotationOf(
  lanes: LanesTo["lanes"],
  used: LanesTo["lanes"][number],
  isSingle: boolean,
  rotates: boolean,
): EncryptedPeer["rotation"] {
  if (isSingle) return rotates ? "single" : undefined;
  if (lanes.length < 2) return undefined;
  return used === lanes.at(-1) && used.state?.lastHandshake !== undefined ? "next" : "waits";
}
