/**
 * The words of a trace as plain data. A trace goes step by step: planned from what a node knows (plan/), read from its kernel (read/), judged
 * (judge.ts). What comes of the steps of one node is a half; two halves make a trace (join.ts).
 */
import type { Family } from "../../addr/index.ts";

/** ok: as it should be; wrong: packets end here; unknown: could not be told from here. */
export type HopState = "ok" | "wrong" | "unknown";

/** One thing that decides about the packet. */
export interface Hop {
  node: string;
  /** Stable, for scripts: "pod.route", "fdb". */
  hop: string;
  /** The kernel object as it should be, in words. */
  should: string;
  /** As it is. */
  is: string;
  state: HopState;
  /** It is wrong where something else is, on either node: that one is the cause, wherever it stands. */
  symptom?: true;
  /** What follows from it, and what to do; where it is wrong. */
  means?: string;
  cure?: string;
}

/** One end of the packet's way. */
export interface End {
  ip: string;
  /** NAMESPACE/NAME, or its container; where the pod is on the node that tells of it. */
  pod?: string;
}

/** A node's end of a network. What is unknown to who tells of it is absent. */
export interface Vtep {
  node: string;
  underlayIp?: string | undefined;
  mac?: string | undefined;
  vni?: number | undefined;
  port?: number | undefined;
}

/** By which way packets go from node to node; `here`: they do not leave the node. */
export type Way = "here" | "tunnel" | "direct" | "bridge";

/** What one node has of the packet's way. */
export interface Half {
  version: typeof HALF_VERSION;
  node: string;
  role: "source" | "destination" | "both";
  network: string;
  family: Family;
  from: End;
  to: End;
  way: Way;
  /** What it was planned from: what the agent says, or what it has left on disk. */
  knowledge: "agent" | "files";
  /** This node, as the other one has to know it. */
  self: Vtep;
  /** The other node, as this one knows it; absent where it knows none. */
  other?: Vtep;
  hops: Hop[];
}

export const HALF_VERSION = 1;

/** What is asked about. */
export interface Traffic {
  /** tcp, udp, sctp or icmp. */
  protocol: string;
  port?: number | undefined;
}
