/** What the probes say to others: a summary for the agent's status and metrics, and the figures of each peer for whoever asks for them. */
import type { Fault, Seen, Verdict } from "./judge.ts";
import type { Worded } from "./words.ts";

/** A verdict that stands. */
export interface StandingVerdict extends Verdict, Worded {
  /** Since when, RFC 3339. */
  since: string;
}

/** The summary. */
export interface ProbesStatus {
  /** Whether there are sockets and packets are sent. */
  on: boolean;
  /** In words, with the reason where they are not. */
  message: string;
  /** In how many seconds each peer is measured once, as long as nothing is wrong. */
  roundSeconds: number;
  peers: { all: number; measured: number; faulty: number };
  verdicts: StandingVerdict[];
}

/** Packets by what became of them: through the tunnel or beside it. */
export interface ProbeCount {
  path: "tunnel" | "underlay";
  family: "IPv4" | "IPv6";
  outcome: "answered" | "lost" | "refused";
  packets: number;
}

/** One path to a peer, as it was measured. */
export interface PathFigures {
  path: "tunnel" | "underlay";
  ip: string;
  /** Absent before it was measured. */
  seen?: Seen;
  /** Round trip of late, in milliseconds. */
  rttMs?: number;
  /** Share of packets lost of late, 0 to 1. */
  loss?: number;
  /** The largest packet that is known to pass, in bytes. */
  mtu?: number;
  /** MTU of the routes to its pods, in bytes, where the path takes less than the device. */
  routes?: number;
}

/** One peer. */
export interface PeerFigures {
  node: string;
  fault?: Fault;
  paths: PathFigures[];
}
