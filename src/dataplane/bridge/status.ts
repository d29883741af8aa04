/** How a bridged network stands on this node, as plain data. */
import type { BridgeDesired } from "./desired.ts";
import { type BridgedNetwork, type BridgeEntryKind, kindOf } from "./types.ts";

/** What was repaired since the start, by kind. */
export type BridgeRepairs = Record<BridgeEntryKind | "device", number>;

export const noRepairs = (): BridgeRepairs => ({ device: 0, port: 0, fdb: 0, bridgeFdb: 0, neighbour: 0 });

export interface BridgeStatus {
  network: string;
  vni: number;
  device: string;
  broadcast: BridgedNetwork["broadcast"];
  /** The devices are there and every entry expected is present. */
  ready: boolean;
  /** Why there is no bridge, or why the kernel could not be read. */
  error?: string;
  /** What could not be set, and entries that the kernel refuses, each in words. */
  problems: string[];
  entries: Record<BridgeEntryKind, { expected: number; present: number }>;
  /** Nodes that take part besides this one, endpoints on them, and ports here. */
  peers: number;
  endpoints: number;
  ports: number;
  repairs: BridgeRepairs;
}

/** Makes the status out of what the reconciler knows. */
export function bridgeStatus(known: {
  desired: BridgeDesired;
  missing: ReadonlySet<string>;
  errors: ReadonlyMap<string, string>;
  error: string | undefined;
  problems: readonly string[];
  repairs: BridgeRepairs;
}): BridgeStatus {
  const { desired, missing, errors, error, problems, repairs } = known;
  const { network, vni, device, broadcast } = desired.local;
  const zero = { expected: 0, present: 0 };
  const entries: BridgeStatus["entries"] = {
    port: { ...zero },
    fdb: { ...zero },
    bridgeFdb: { ...zero },
    neighbour: { ...zero },
  };
  for (const key of desired.entries.keys()) {
    const count = entries[kindOf(key)];
    count.expected++;
    if (!missing.has(key)) count.present++;
  }
  const refused = [...errors].flatMap(([key, message]) => (missing.has(key) ? [`${key}: ${message}`] : []));
  return {
    network,
    vni,
    device,
    broadcast,
    ready: error === undefined && missing.size === 0,
    ...(error !== undefined && { error }),
    problems: [...problems, ...refused],
    entries,
    peers: desired.peers.size,
    endpoints: desired.endpoints.size,
    ports: desired.ports.size,
    repairs: { ...repairs },
  };
}
