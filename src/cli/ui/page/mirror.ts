/** What the page knows: everything as it was sent first, kept up by the changes. It has the same bounds as what sends them. */
import {
  type MapClaim,
  type MapDelta,
  type MapFlow,
  type MapNetwork,
  type MapNode,
  type MapPod,
  type MapRow,
  type MapSnapshot,
  type MapTrouble,
  MOST,
  type Moment,
  PAIR_STATES,
  type PairState,
  roundTripMs,
} from "../wire.ts";

/** What one node has found of another. */
export interface Cell {
  state: PairState;
  rttMs?: number | undefined;
}

/** A row as it is read. */
interface Row {
  slot: number;
  cells: Uint8Array;
}

/** What has changed, as it is read. */
export type Change = Omit<MapDelta, "rows"> & { rows?: readonly Row[] };

/** Everything, as it is read. */
export type Everything = Change & Pick<MapSnapshot, "title" | "started">;

/** Reads a row. */
export function rowOf({ slot, cells: base64 }: MapRow): Row {
  const text = atob(base64);
  const cells = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) cells[i] = text.charCodeAt(i);
  return { slot, cells };
}

const UNKNOWN: Cell = { state: "unknown" };
/** By name as people count: node2 before node10. */
const collator = new Intl.Collator("en", { numeric: true });
export const byName = (a: string, b: string): number => collator.compare(a, b);

export class Mirror {
  title = "";
  started = 0;
  /** How far the sender's clock is ahead of ours, in milliseconds. */
  ahead = 0;
  readonly nodes = new Map<string, MapNode>();
  readonly networks = new Map<string, MapNetwork>();
  readonly pods = new Map<string, MapPod>();
  readonly claims = new Map<string, MapClaim>();
  readonly flows = new Map<string, MapFlow>();
  /** Newest first. */
  moments: Moment[] = [];
  troubles: readonly MapTrouble[] = [];
  podsLeftOut = 0;
  /** By slot: two bytes a slot. */
  readonly rows = new Map<number, Uint8Array>();
  /** Nodes in the order in which they are shown. */
  order: MapNode[] = [];
  /** Grows whenever nodes come or go, or a row changes. */
  pairsVersion = 0;
  /** Grows whenever a pod comes, changes or goes. */
  podsVersion = 0;

  /** Everything anew. @param clock this machine's, in milliseconds since 1970 */
  all(snapshot: Everything, clock: number): void {
    this.title = snapshot.title;
    this.started = snapshot.started;
    for (const map of [this.nodes, this.networks, this.pods, this.claims, this.flows, this.rows]) map.clear();
    this.moments = [];
    const { title: _title, started: _started, ...lists } = snapshot;
    this.change(lists, clock);
    this.#sort();
  }

  change(delta: Change, clock: number): void {
    this.ahead = delta.now - clock;
    const before = this.nodes.size;
    for (const [list, map] of [
      ["networks", this.networks],
      ["nodes", this.nodes],
    ] as const)
      for (const one of delta[list] ?? []) (map as Map<string, { name: string }>).set(one.name, one);
    for (const [list, map] of [
      ["pods", this.pods],
      ["claims", this.claims],
      ["flows", this.flows],
    ] as const)
      for (const one of delta[list] ?? []) (map as Map<string, { key: string }>).set(one.key, one);
    const { nodes = [], networks = [], pods = [], claims = [] } = delta.gone ?? {};
    for (const name of nodes) this.nodes.delete(name);
    for (const name of networks) this.networks.delete(name);
    for (const key of pods) this.pods.delete(key);
    for (const key of claims) this.claims.delete(key);
    for (const key of this.flows.keys()) {
      if (this.flows.size <= MOST.flows) break;
      this.flows.delete(key);
    }
    if (delta.moments)
      this.moments = [...delta.moments.toReversed(), ...this.moments]
        .toSorted((a, b) => b.at - a.at || b.id - a.id)
        .slice(0, MOST.moments);
    this.troubles = delta.troubles ?? this.troubles;
    this.podsLeftOut = delta.podsLeftOut ?? this.podsLeftOut;
    for (const { slot, cells } of delta.rows ?? [])
      if (cells.length === 0) this.rows.delete(slot);
      else this.rows.set(slot, cells);
    if (delta.pods || pods.length > 0) this.podsVersion++;
    if (delta.nodes || nodes.length > 0) this.#sort();
    if (delta.rows || before !== this.nodes.size || nodes.length > 0) this.pairsVersion++;
  }

  /** What one node has found of another one. */
  cell(from: MapNode, to: MapNode): Cell {
    const row = this.rows.get(from.slot);
    const state = PAIR_STATES[row?.[2 * to.slot] ?? 0];
    return state === undefined ? UNKNOWN : { state, rttMs: roundTripMs(row?.[2 * to.slot + 1] ?? 0) };
  }

  #sort(): void {
    this.order = [...this.nodes.values()].sort((a, b) => byName(a.name, b.name));
  }
}
