/** What the map is told, by those who read it from the API server and from agents. */
import type { MapClaim, MapFlow, MapNode, MapPod, MapVtep } from "../wire.ts";

/** A Node object. */
export type NodeFacts = Pick<MapNode, "name" | "kubelet" | "ips">;

/** A pod that has, or will have, an address of ours. */
export type PodFacts = Omit<MapPod, "gone" | "was">;

export type ClaimFacts = Omit<MapClaim, "gone" | "was">;

/** An Event. */
export interface EventFacts {
  /** Unique. */
  key: string;
  at: number;
  bad: boolean;
  reason: string;
  subject: string;
  message: string;
  count: number;
}

/** What an agent says of itself. */
export interface AgentFacts extends Pick<MapNode, "version" | "api" | "why" | "refused" | "probes" | "flows"> {
  ready: boolean;
  uptimeSeconds: number;
  vteps: readonly (MapVtep & { byKind: Readonly<Record<string, number>> })[];
}

/** A flow, but for who tells of it. */
export type FlowFacts = Omit<MapFlow, "by">;
