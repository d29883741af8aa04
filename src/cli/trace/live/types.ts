/** The words of a live trace as plain data: what each node has seen of a marked packet, its answer, and errors about it. */
import type { Half } from "../types.ts";

/** Which packet: the marked one, what its receiver answers, or an ICMP error that somebody sends about it. */
export type Kind = "request" | "answer" | "error";

/** A place of a node's packet filter. */
export type Hook = "prerouting" | "input" | "forward" | "output" | "postrouting";

/** Packets seen at a place. */
export interface Seen {
  kind: Kind;
  /** Inside VXLAN, whose packet is seen, not its own. */
  outer: boolean;
  hook: Hook;
  /** Names of devices. */
  in?: string;
  out?: string;
  packets: number;
  /** The sender's address, where it is not what it should be; of an error, who sends it. */
  source?: string;
  /** What an error says, in words. */
  says?: string;
}

/** Packets that the packet filter has ended. */
export interface Dropped {
  kind: Kind;
  outer: boolean;
  /** Where they were seen last before. */
  hook: Hook;
  /** "inet skylane" */
  table: string;
  chain: string;
  /** The rule as nft writes it, or "policy drop"; absent where it could not be read. */
  rule?: string;
  packets: number;
}

/** What one node has seen. */
export interface LiveHalf {
  version: typeof LIVE_VERSION;
  node: string;
  role: Half["role"];
  seen: Seen[];
  dropped: Dropped[];
  /** Chains whose rule or policy let the packet pass, or that handed it to a program, such as "inet filter forward". */
  passed: string[];
  /** By the node of the sender alone. */
  sent?: { packets: number; error?: string };
  /** Why nothing, or not everything, was seen. */
  missing?: string;
}

export const LIVE_VERSION = 1;

/** Of a sender's node on which nothing was sent. */
export const nothingOf = (node: string, role: LiveHalf["role"], why: string): LiveHalf => ({
  version: LIVE_VERSION,
  node,
  role,
  seen: [],
  dropped: [],
  passed: [],
  missing: `${node} does not send: ${why}`,
});

/** A place on the packet's way, in its order. */
export interface LiveHop {
  node: string;
  /** Stable, for scripts: "source.host-end", "answer.destination.host-end". */
  hop: string;
  /** What the packet does there, in words. */
  place: string;
  /** How many of those sent; absent where nobody watched. */
  packets?: number;
  /** What is particular: another source address. */
  note?: string;
}

/** What became of marked packets. */
export interface Live {
  /** It arrived, and was answered; over UDP it need not be. */
  ok: boolean;
  arrived: boolean;
  answered: boolean;
  sent: number;
  hops: LiveHop[];
  /** Where it was seen last. */
  last?: LiveHop;
  /** Where it should have been seen next. */
  next?: LiveHop;
  /** Chains that let it pass, by node: "node1 inet filter forward". */
  passed: string[];
  /** What came of it, in words; where it did not arrive, why, and what to do. */
  is: string;
  cure?: string;
  /** What could not be seen, in words. */
  missing?: string;
}
