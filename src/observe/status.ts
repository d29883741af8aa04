/**
 * The agent's answer to `GET /status` on its Unix socket, for skylanectl and the lab: what is, in one
 * document that a script can read without knowing how the agent works.
 */
import type { LimitedInterface } from "../dataplane/bandwidth/index.ts";
import type { EgressStatus } from "./egress-status.ts";
import type { EncryptionStatus } from "../dataplane/encryption/index.ts";
import type { FastPathStatus } from "../dataplane/fast-path/index.ts";
import type { FlowsStatus } from "../flows/index.ts";
import type { HostPortsStatus } from "../dataplane/host-ports/index.ts";
import type { EntryCount, NetworkIdentity, PeerStatus as PeerOfOverlay } from "../dataplane/vxlan/index.ts";
import type { Encryption, Loss, Refusal } from "../peers/index.ts";
import type { ProbesStatus } from "../probes/index.ts";
import type { Readiness } from "./readiness.ts";

/** A peer and whether the kernel has it; what of it is as usual is absent: its VNI, its port, single addresses, the way to it without the tunnel. */
export type PeerStatus = Pick<
  PeerOfOverlay,
  "node" | "mac" | "underlayIp" | "podCidrs" | "hosts" | "vni" | "port" | "direct" | "state" | "error"
>;

/** An address of a pod that runs. */
export interface PodAddress {
  /** NAMESPACE/NAME; that of its container where no pod is known. */
  pod: string;
  ip: string;
}

/** One that is in none of the node's pod CIDRs. */
export interface OutsidePod extends PodAddress {
  why: string;
}

/** One pod network. */
export interface NetworkStatus extends NetworkIdentity {
  /** As its definition has it. */
  mode: "Routed" | "Bridged";
  /** Everything expected is in the kernel, and the data path has worked since the agent started. */
  ready: boolean;
  /** The address under which the other nodes reach this one, where that is another one (1:1 NAT). */
  publicIp?: string;
  /** Absent where what goes to other nodes is not to be encrypted. */
  encryption?: Encryption;
  /** Why there is no device, or why the kernel cannot be read. */
  error?: string;
  peers: PeerStatus[];
  refused: Refusal[];
  /** What of this node's the other nodes give to another Node; absent where there is nothing of the kind. */
  losses?: Loss[];
  /** Pods of the default network whose addresses are in none of the node's pod CIDRs; absent where there are none. */
  outside?: OutsidePod[];
  entries: Record<string, EntryCount>;
  repairs: { total: number; byKind: Record<string, number> };
  /** Of a pod network beside the default one; absent where there is none. */
  fastPath?: FastPathStatus;
}

/** How the agent stands with the API server. */
export interface ApiStatus {
  /** "synced"; "cached" while the last known state on disk serves; "connecting"; "away" after it was lost. */
  state: "synced" | "cached" | "connecting" | "away";
  /** When both watches were last in step, RFC 3339; null when never. */
  lastSync: string | null;
  /** The last error while not in step. */
  error?: string;
}

/** How the agent stands with network policies. */
export interface PoliciesStatus {
  presence: "none" | "some" | "unknown";
  inForce: boolean;
  /** The same in words, with the reason where they are not. */
  message: string;
}

/** How pods' bandwidth limits stand. */
export interface BandwidthStatus {
  limits: LimitedInterface[];
  /** Pods whose annotations limit nothing, by NAMESPACE/NAME, and why. */
  faults?: { pod: string; why: string }[];
}

/** The whole document. */
export interface AgentStatus {
  version: string;
  node: string;
  networks: NetworkStatus[];
  api: ApiStatus;
  /** Absent in the answer of an agent that knows none. */
  policies?: PoliciesStatus;
  /** Absent in the answer of an agent that knows none. */
  hostPorts?: HostPortsStatus;
  /** Absent in the answer of an agent that knows none. */
  bandwidth?: BandwidthStatus;
  /** Absent where there are no egress gateways, and in the answer of an agent that knows none. */
  egress?: EgressStatus;
  /** Absent where it is off. */
  encryption?: EncryptionStatus;
  /** Absent where it is not configured. */
  fastPath?: FastPathStatus;
  /** Absent where they are off. */
  flows?: FlowsStatus;
  /** Absent where they are off. */
  probes?: ProbesStatus;
  ready: Readiness;
  uptimeSeconds: number;
}
