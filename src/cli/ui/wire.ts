/**
 * What the live map's page is sent: first everything, then what has changed. Pure types, which the page's program and the one that serves it share;
 * what goes over the wire is JSON. Times are milliseconds since 1970.
 */

/** What a pair of nodes may show, by number: `PAIR_STATES[n]`. A closed list; the faults are those of the probes, the worst first. */
export const PAIR_STATES = [
  "unknown",
  "answers",
  "down",
  "silent",
  "tunnel",
  "family4",
  "family6",
  "narrow",
  "fragments",
  "loss",
] as const;
export type PairState = (typeof PAIR_STATES)[number];

/** How a node's agent is, as far as it says: not asked yet, ready, not ready, no answer. */
export type NodeState = "unknown" | "ready" | "not-ready" | "silent";

/** A network on one node. */
export interface MapVtep {
  network: string;
  vni: number;
  ready: boolean;
  device: string;
  mac: string;
  underlayIp: string;
  mtu: number;
  podCidrs: readonly string[];
  /** Peers that the kernel has, and all. */
  programmed: number;
  peers: number;
  /** Kernel objects that were put back since the agent's start. */
  repairs: number;
}

export interface MapNode {
  name: string;
  /** Its place in rows of pairs. */
  slot: number;
  state: NodeState;
  /** Since when it is so. */
  since: number;
  /** Why it is not ready, or does not answer. */
  why?: string;
  /** What its Node object says of its kubelet; absent where that says nothing. */
  kubelet?: "ready" | "not ready" | "unknown";
  /** Of the agent. */
  version?: string;
  /** How the agent stands with the API server. */
  api?: string;
  ips: readonly string[];
  vteps: readonly MapVtep[];
  /** Nodes that it has refused as peers, and why. */
  refused: readonly { network: string; node: string; reason: string; message: string }[];
  probes?: { on: boolean; message: string; verdicts: readonly { found: string; meaning: string; cure: string }[] };
  flows?: { on: boolean; message: string };
}

export interface MapNetwork {
  name: string;
  vni: number;
  mode: string;
  cidrs: readonly string[];
  mtu?: number;
  deleting?: true;
}

/** Where something was before. */
export interface Stay {
  node: string;
  until: number;
}

export interface MapPod {
  /** NAMESPACE/NAME. */
  key: string;
  /** Absent while it has none. */
  node?: string;
  phase: string;
  ips: readonly string[];
  /** Addresses in further networks. */
  further: readonly { network: string; ips: readonly string[] }[];
  /** When it went, as long as it is remembered. */
  gone?: number;
  was: readonly Stay[];
}

export interface MapClaim {
  /** NAMESPACE/NAME. */
  key: string;
  network: string;
  ips: readonly string[];
  mac?: string;
  node?: string;
  pod?: string;
  /** Why it does not have what it asks for. */
  fault?: string;
  gone?: number;
  was: readonly Stay[];
}

export type MomentKind = "event" | "repair" | "refusal" | "node" | "pod" | "claim" | "network" | "probe" | "flow";

/** Something that happened: a point of the time line. */
export interface Moment {
  /** Grows. */
  id: number;
  at: number;
  kind: MomentKind;
  bad: boolean;
  /** What it is about: a node's, pod's or claim's name. */
  subject: string;
  text: string;
}

/** One end of a flow. */
export interface MapFlowEnd {
  ip: string;
  port: number;
  pod?: string;
  node?: string;
}

export interface MapFlow {
  /** Unique in the map. */
  key: string;
  at: number;
  verdict: "allowed" | "denied";
  protocol: number;
  source: MapFlowEnd;
  destination: MapFlowEnd;
  /** The pod network. */
  network: string;
  /** What was asked for: the Service's name, with that of the port, where it is known, else its address. */
  service?: string;
  state: string;
  policy?: string;
  packets?: number;
  bytes?: number;
  /** The node that tells of it. */
  by: string;
}

/** What one node has measured of all others. */
export interface MapRow {
  slot: number;
  /** Two bytes a slot in base64: the state by its number, and the round trip ({@link roundTripMs}). Trailing slots may be absent. */
  cells: string;
}

/** Something that the map is read from, where that cannot be read. */
export interface MapTrouble {
  what: string;
  why: string;
}

/** Everything, as it is sent first. */
export interface MapSnapshot {
  /** Which cluster. */
  title: string;
  /** Since when the map remembers. */
  started: number;
  now: number;
  nodes: readonly MapNode[];
  networks: readonly MapNetwork[];
  pods: readonly MapPod[];
  claims: readonly MapClaim[];
  rows: readonly MapRow[];
  flows: readonly MapFlow[];
  moments: readonly Moment[];
  troubles: readonly MapTrouble[];
  /** Pods that are not in it as there are too many. */
  podsLeftOut: number;
}

/** What has changed. Lists have what is new or other than before; `gone` what is not there any more, by list and name. */
export type MapDelta = Partial<Omit<MapSnapshot, "title" | "started" | "now">> & {
  now: number;
  gone?: {
    nodes?: readonly string[];
    networks?: readonly string[];
    pods?: readonly string[];
    claims?: readonly string[];
  };
};

/** What of it may be in several parts of one change. */
export const LISTS = ["nodes", "networks", "pods", "claims", "rows", "flows", "moments"] as const;

/** A part of everything or of a change: the whole is what they have together. */
export type MapPart = Partial<MapSnapshot> &
  Pick<MapDelta, "gone"> & {
    /** So many follow. */
    more: number;
  };

/** One thing that decides about a packet, as a trace has found it. */
export interface MapHop {
  node: string;
  hop: string;
  should: string;
  is: string;
  state: "ok" | "wrong" | "unknown";
  means?: string;
  cure?: string;
}

/** The answer to who wants a trace. */
export interface MapTrace {
  /** Why there is none. */
  error?: string;
  trace?: { ok: boolean; way: string; hops: readonly MapHop[]; wrong?: MapHop; missing?: string };
}

/** How many of each the map has at most; the oldest goes first. The page keeps as many. */
export const MOST = { nodes: 2_000, pods: 20_000, gone: 500, claims: 10_000, stays: 16, moments: 1_000, flows: 1_000 };

const STEPS = 8;

/** A round trip as one byte: logarithmic in steps of 9 %, from 1 µs on. 0: not measured. */
export function roundTripByte(ms: number | undefined): number {
  if (ms === undefined || !(ms >= 0)) return 0;
  const steps = 1 + Math.round(STEPS * Math.log2(Math.max(1, ms * 1_000)));
  return Math.min(255, steps);
}

/** The other way round, in milliseconds. */
export const roundTripMs = (byte: number): number | undefined =>
  byte === 0 ? undefined : 2 ** ((byte - 1) / STEPS) / 1_000;
