/** How a bridged network stands on this node, as plain data. */
import type { BridgeDesired } from "./desired.ts";
import { byKind, kindOf } from "../../reconcile/index.ts";
import { BRIDGE_ENTRY_KINDS, type BridgedNetwork, type BridgeEntryKind } from "./types.ts";

/** What was repaired since the start, by kind. */
export type BridgeRepairs = Record<BridgeEntryKind | "device", number>;

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
  repairs: ReadonlyMap<string, number>;
}): BridgeStatus {
  const { desired, missing, errors, error, problems, repairs } = known;
  const { network, vni, device, broadcast } = desired.local;
  const absent = new Map<string, number>();
  for (const key of missing) absent.set(kindOf(key), (absent.get(kindOf(key)) ?? 0) + 1);
  const entries = byKind(BRIDGE_ENTRY_KINDS, (kind) => {
    const expected = desired.tracker.count(kind);
    return { expected, present: expected - (absent.get(kind) ?? 0) };
  });
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
    repairs: byKind(["device", ...BRIDGE_ENTRY_KINDS], (kind) => repairs.get(kind) ?? 0),
  };
}
