/** How the overlay of one network stands, as plain data for /status, readiness and metrics. */
import { byKind, kindOf } from "../../reconcile/index.ts";
import type { LocalNetwork, Peer } from "../../peers/index.ts";
import { type Desired, ownersOf } from "./desired/desired.ts";
import { ENTRY_KINDS, type EntryKind } from "./desired/entries.ts";

/** `programmed`: all its entries are in the kernel; `pending`: not yet; `error`: the kernel refuses one. */
export type PeerState = "programmed" | "pending" | "error";

/** A peer and whether the kernel has it. */
export interface PeerStatus extends Peer {
  state: PeerState;
  /** What the kernel said, in state `error`. */
  error?: string;
}

/** Expected and present entries of one kind. */
export interface EntryCount {
  expected: number;
  present: number;
}

/** What tells one network's end on this node from others. */
export type NetworkIdentity = Pick<
  LocalNetwork,
  "network" | "vni" | "device" | "mtu" | "mac" | "underlayIp" | "port" | "podCidrs"
>;

/** Takes that much out of all that is known of a network, in the order in which it is shown. */
export function identityOf(local: LocalNetwork): NetworkIdentity {
  const { network, vni, device, mtu, mac, underlayIp, port, podCidrs } = local;
  return { network, vni, device, mtu, mac, underlayIp, port, podCidrs };
}

/** Kinds of what can be repaired. */
export type RepairKind = EntryKind | "device";

/** What was repaired since the start. */
export interface RepairCounts {
  total: number;
  byKind: Record<RepairKind, number>;
}

/** How one network stands. */
export interface OverlayStatus extends NetworkIdentity {
  /** The device is up and every entry expected is present, but for those of single peers that the kernel refuses. */
  ready: boolean;
  /** Why there is no device, or why the kernel could not be read. */
  error?: string;
  /** Settings of the device that could not be made. */
  problems: string[];
  peers: PeerStatus[];
  entries: Record<EntryKind, EntryCount>;
  repairs: RepairCounts;
}

/** What the reconciler knows, from which a status is made. */
export interface Knowledge {
  desired: Pick<Desired, "local" | "peers" | "here" | "tracker">;
  /** Desired entries that were not in the kernel after the last pass. */
  missing: ReadonlySet<string>;
  /** What the kernel said about those of them that it refused. */
  errors: ReadonlyMap<string, string>;
  error: string | undefined;
  problems: readonly string[];
  /** By kind. */
  repairs: ReadonlyMap<string, number>;
}

const PROGRAMMED: { state: PeerState } = { state: "programmed" };

/**
 * Peers whose entries the kernel refuses, which are their own fault and shown as theirs: what one node publishes must not make
 * another one unready. If it refuses those of all peers, of more than one, it is this node's.
 */
function sparedOf(
  { local, peers }: Knowledge["desired"],
  states: ReadonlyMap<string, { state: PeerState }>,
): ReadonlySet<string> {
  const refused = [...states].filter(([node, { state }]) => state === "error" && node !== local.node);
  const all = refused.length === peers.size && peers.size > 1;
  return new Set(all ? [] : refused.map(([node]) => node));
}

/** Makes the status; its list of peers is made when it is asked for, since readiness asks often and not for that. */
export function overlayStatus(known: Knowledge): OverlayStatus {
  const { desired, missing, errors, error, problems } = known;
  const { local, peers, tracker } = desired;
  const expected = byKind(ENTRY_KINDS, (kind) => tracker.count(kind));
  const absent = byKind(ENTRY_KINDS, () => 0);
  const states = new Map<string, { state: PeerState; error?: string }>();
  const owners = missing.size > 0 ? ownersOf(desired) : new Map<string, string>();
  for (const key of missing) {
    const node = owners.get(key);
    if (node === undefined) continue;
    const said = errors.get(key);
    if (said !== undefined) states.set(node, { state: "error", error: said });
    else if (!states.has(node)) states.set(node, { state: "pending" });
  }
  const spared = sparedOf(desired, states);
  const repairs = byKind(["device", ...ENTRY_KINDS], (kind) => known.repairs.get(kind) ?? 0);
  let lacking = 0;
  for (const key of missing) {
    if (tracker.entries.get(key)?.kind === "vacant") continue;
    const kind = kindOf(key) as EntryKind;
    if (spared.has(owners.get(key) ?? "")) expected[kind]--;
    else {
      absent[kind]++;
      lacking++;
    }
  }
  return {
    ...identityOf(local),
    ready: error === undefined && lacking === 0,
    ...(error !== undefined && { error }),
    problems: [...problems],
    get peers() {
      return Array.from(peers.values(), (peer) => ({ ...peer, ...(states.get(peer.node) ?? PROGRAMMED) }));
    },
    entries: byKind(ENTRY_KINDS, (kind) => ({
      expected: expected[kind],
      present: expected[kind] - absent[kind],
    })),
    repairs: { total: known.repairs.values().reduce((sum, one) => sum + one, 0), byKind: repairs },
  };
}
