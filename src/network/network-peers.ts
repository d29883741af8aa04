/**
 * The peers of one network: chosen from what Nodes say, and handed to those who let them in. A changed Node costs what
 * hangs on it; when our own part of the network changes, all Nodes are judged anew.
 */
import type { NetworkConfig } from "../config/index.ts";
import type { Logger } from "../log/index.ts";
import { type LocalNetwork, type Loss, type Peer, PeerSelector, type Refusal } from "../peers/index.ts";
import type { DataPath } from "../data-path/index.ts";
import { directFamilies, type Segments, withHops } from "../host/index.ts";
import { type NodeFirewall, rulesOf } from "../firewall/index.ts";
import type { Inputs, NodeChanges, NodeFacts } from "../nodes/index.ts";
import { RefusalLog } from "./refusals.ts";

/** What the peers are handed to. */
export interface PeersOptions {
  config: NetworkConfig;
  log: Logger;
  firewall: Pick<NodeFirewall, "set" | "changePeers">;
  /** The data path, once there is one. */
  path: () => Pick<DataPath, "setPeers" | "changePeers"> | undefined;
  /** A node is refused as a peer. */
  onRefused: (refusal: Refusal) => void;
}

/** Keeps the peers of one network. */
export class Peers {
  readonly #options: PeersOptions;
  readonly #refusals = new RefusalLog();
  #selector: PeerSelector | undefined;
  /** Nodes that changed since the last choice. */
  readonly #changes = new Map<string, NodeFacts | undefined>();
  #segments: Segments | undefined;
  /** Those that are reached directly, as they were handed to the data path. */
  readonly #direct = new Map<string, Peer>();

  constructor(options: PeersOptions) {
    this.#options = options;
  }

  /** Those accepted, each with the hops by which it is reached directly. */
  *routed(): Generator<Peer> {
    for (const [node, peer] of this.all) yield this.#direct.get(node) ?? peer;
  }

  /** How many are accepted. */
  get size(): number {
    return this.all.size;
  }

  /** Whether a node's is. */
  has(node: string): boolean {
    return this.all.has(node);
  }

  /** So many of those accepted, from the one with a number on, and from the first again after the last; all where there are fewer. */
  sample(start: number, count: number): Peer[] {
    const [before, from]: [Peer[], Peer[]] = [[], []];
    let number = 0;
    for (const [node, peer] of this.all) {
      if (from.length === count) break;
      if (number >= start) from.push(this.#direct.get(node) ?? peer);
      else if (number < count) before.push(this.#direct.get(node) ?? peer);
      number++;
    }
    return [...from, ...before.slice(0, count - from.length)];
  }

  /** Those accepted, by node. */
  get all(): ReadonlyMap<string, Peer> {
    return this.#selector?.peers ?? new Map<string, Peer>();
  }

  /** Those refused. */
  get refused(): readonly Refusal[] {
    return this.#refusals.current;
  }

  /** Nodes of which it depends on how they stand who gets what. */
  get contested(): readonly string[] {
    return this.#selector ? [...this.#selector.contested()] : [];
  }

  /** What of ours the other nodes give to somebody else. */
  get losses(): readonly Loss[] {
    return this.#selector?.losses() ?? [];
  }

  /** Whether a change of Nodes alone can be taken: all of them have been judged once. */
  get chosen(): boolean {
    return this.#selector !== undefined;
  }

  /** Notes Nodes that have changed, for the next choice. */
  note(changes: NodeChanges): void {
    for (const [name, node] of changes) this.#changes.set(name, node);
  }

  /** Chooses among all Nodes when our own part is another than at the last time, otherwise among those that changed. */
  choose(local: LocalNetwork, nodes: Inputs["nodes"]): void {
    if (this.#selector?.local === local) this.#chooseChanged(local, this.#selector);
    else this.#chooseAll(local, nodes);
    this.#changes.clear();
  }

  /** Takes the segments that this node is on; peers for which they make a difference are routed anew. */
  route(local: LocalNetwork, segments: Segments | undefined): void {
    const before = this.#segments;
    if (before?.key === segments?.key) return;
    this.#segments = segments;
    const changed = new Map<string, Peer>();
    for (const [node, peer] of this.all) {
      const former = this.#direct.get(node)?.direct;
      const now = this.#withHops(peer);
      if (JSON.stringify(former) !== JSON.stringify(now.direct)) changed.set(node, now);
    }
    if (changed.size > 0) this.#options.path()?.changePeers(changed);
    if (this.#selector && String(before?.interfaces) !== String(segments?.interfaces)) this.#setRules(local, this.all);
  }

  #withHops(peer: Peer): Peer {
    const now = withHops(peer, this.#segments, directFamilies(this.#options.config));
    if (now.direct) this.#direct.set(peer.node, now);
    else this.#direct.delete(peer.node);
    return now;
  }

  #setRules(local: LocalNetwork, peers: ReadonlyMap<string, Peer>): void {
    this.#options.firewall.set(rulesOf(local, peers, this.#options.config, this.#segments?.interfaces));
  }

  #chooseAll(local: LocalNetwork, nodes: Inputs["nodes"]): void {
    const selector = new PeerSelector(local);
    selector.update(Array.from(nodes, (node) => [node.name, node] as const));
    this.#selector = selector;
    this.#tell(selector);
    this.#direct.clear();
    for (const peer of selector.peers.values()) this.#withHops(peer);
    this.#options.path()?.setPeers(this.routed());
    this.#setRules(local, selector.peers);
  }

  #chooseChanged(local: LocalNetwork, selector: PeerSelector): void {
    const { peers, former, refusals } = selector.update(this.#changes);
    if (refusals) this.#tell(selector);
    if (peers.size === 0) return;
    const routed = [...peers].map(([node, peer]) => {
      if (!peer) this.#direct.delete(node);
      return [node, peer && this.#withHops(peer)] as const;
    });
    this.#options.path()?.changePeers(routed);
    this.#options.firewall.changePeers(
      local,
      former,
      [...peers.values()].filter((peer) => peer !== undefined),
    );
  }

  #tell({ refused }: PeerSelector): void {
    const { fresh, lifted } = this.#refusals.update([...refused.values()]);
    for (const refusal of fresh) {
      const { node, reason, message } = refusal;
      this.#options.log.warn(`refused peer ${node}: ${message}`, { reason });
      this.#options.onRefused(refusal);
    }
    for (const node of lifted) this.#options.log.info(`no longer refused: ${node}`);
  }
}
