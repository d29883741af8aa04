/**
 * Which nodes become peers. Every node is judged by itself (verdict.ts) and against those that are older: Nodes are
 * taken in order of age, and whoever claims an address that is taken already is refused alone. A refused node takes
 * nothing, so it stands in nobody's way. What is ours is taken before all others.
 *
 * All nodes come to the same verdict about a pair of others, since age and name are the same everywhere. A change costs
 * a look at the nodes that it concerns: those that changed, and younger ones that claim the same, from the oldest to
 * the youngest. The whole selection is that change that brings all Nodes.
 */
import { Claims, type Claim } from "./claims.ts";
import type { LocalNetwork, NodeVtep, Peer, Refusal } from "./types.ts";
import { judgeAlone } from "./verdict.ts";

/** The outcome: nodes that have published nothing for the network are in neither list. */
export interface PeerSelection {
  /** In order of age. */
  peers: Peer[];
  /** In order of name. */
  refused: Refusal[];
}

/** What a change of Nodes has come to. */
export interface SelectionChange {
  /** By node: peers that are new or other than they were; undefined where a node is a peer no longer. */
  peers: Map<string, Peer | undefined>;
  /** Those of them that were peers before, as they were. */
  former: Peer[];
  /** Some refusal came, went or has another reason. */
  refusals: boolean;
}

/** A node that would be a peer, if nobody older claimed the same. */
interface Contender {
  /** When its Node was made; "" is before all others. */
  readonly since: string;
  readonly claim: Claim;
  readonly peer: Peer | undefined;
  accepted: boolean;
}

/** Older first; the API server writes RFC 3339 in UTC, which sorts as text. */
function byAge(a: Contender, b: Contender): number {
  if (a.since !== b.since) return a.since < b.since ? -1 : 1;
  return a.claim.node < b.claim.node ? -1 : Number(a.claim.node > b.claim.node);
}

/** The peers of one network, kept up to date as Nodes change; our own Node is skipped by its name. */
export class PeerSelector {
  readonly local: LocalNetwork;
  readonly #self: Contender;
  readonly #contenders = new Map<string, Contender>();
  readonly #claims: Claims<Contender>;
  readonly #refused = new Map<string, Refusal>();
  readonly #peers = new Map<string, Peer>();

  constructor(local: LocalNetwork) {
    this.local = local;
    this.#claims = new Claims(local.isolated === true);
    this.#self = { since: "", claim: local, peer: undefined, accepted: true };
    this.#claims.add(this.#self);
  }

  /** Those accepted, by node. */
  get peers(): ReadonlyMap<string, Peer> {
    return this.#peers;
  }

  /** Those refused, by node. */
  get refused(): ReadonlyMap<string, Refusal> {
    return this.#refused;
  }

  /** Takes Nodes as they are now, by name; undefined for those that are gone. Never throws for what a Node says. */
  update(nodes: Iterable<readonly [name: string, node: NodeVtep | undefined]>): SelectionChange {
    const change: SelectionChange = { peers: new Map(), former: [], refusals: false };
    const doubtful = new Set<Contender>();
    for (const [name, node] of nodes) {
      if (name === this.local.node) continue;
      const former = this.#contenders.get(name);
      if (former) this.#leave(former, doubtful);
      const verdict = node && judgeAlone(this.local, node);
      const refusal = verdict && "reason" in verdict ? verdict : undefined;
      const peer = verdict && !("reason" in verdict) ? verdict : undefined;
      if (node && peer)
        doubtful.add(this.#enter({ since: node.creationTimestamp, claim: peer, peer, accepted: false }));
      else {
        this.#refuse(name, refusal, change);
        this.#accept(name, undefined, change);
      }
    }
    this.#settle(doubtful, change);
    return change;
  }

  #enter(contender: Contender): Contender {
    this.#contenders.set(contender.claim.node, contender);
    this.#claims.add(contender);
    return contender;
  }

  /** What it stood in the way of is looked at again. */
  #leave(contender: Contender, doubtful: Set<Contender>): void {
    if (contender.accepted) {
      this.#claims.rivals(contender, (other) => {
        if (byAge(other, contender) > 0) doubtful.add(other);
      });
    }
    this.#contenders.delete(contender.claim.node);
    this.#claims.remove(contender);
    doubtful.delete(contender);
  }

  /** Decides about contenders from the oldest to the youngest, and about those that hang on their fate. */
  #settle(doubtful: ReadonlySet<Contender>, change: SelectionChange): void {
    const queue = [...doubtful].sort(byAge);
    const waiting = new Set(queue);
    for (let at = 0; at < queue.length; at++) {
      const one = queue[at] as Contender;
      waiting.delete(one);
      const { refusal, younger } = this.#against(one);
      this.#refuse(one.claim.node, refusal, change);
      this.#accept(one.claim.node, refusal ? undefined : one.peer, change);
      const accepted = refusal === undefined;
      if (accepted === one.accepted) continue;
      one.accepted = accepted;
      for (const other of younger) {
        if (waiting.has(other)) continue;
        waiting.add(other);
        let place = queue.length;
        while (place > at + 1 && byAge(other, queue[place - 1] as Contender) < 0) place--;
        queue.splice(place, 0, other);
      }
    }
  }

  /** Holds one against its rivals: what the older ones among them make of it, and those who depend on it. */
  #against(one: Contender): { refusal: Refusal | undefined; younger: Contender[] } {
    const { node } = one.claim;
    const younger: Contender[] = [];
    let refusal: Refusal | undefined;
    this.#claims.rivals(one, (other, reason, what) => {
      if (byAge(other, one) > 0) younger.push(other);
      else if (!other.accepted || refusal) return;
      else if (other === this.#self)
        refusal = { node, reason: "CollidesWithSelf", message: `${what()} of this node itself` };
      else refusal = { node, reason, message: `${what()} of the older node ${other.claim.node}` };
    });
    return { refusal, younger };
  }

  #refuse(node: string, refusal: Refusal | undefined, change: SelectionChange): void {
    const before = this.#refused.get(node);
    if (before?.reason === refusal?.reason && before?.message === refusal?.message) return;
    if (refusal) this.#refused.set(node, refusal);
    else this.#refused.delete(node);
    change.refusals = true;
  }

  #accept(node: string, peer: Peer | undefined, change: SelectionChange): void {
    const before = this.#peers.get(node);
    if (before === peer) return;
    if (before && !change.peers.has(node)) change.former.push(before);
    if (peer) this.#peers.set(node, peer);
    else this.#peers.delete(node);
    change.peers.set(node, peer);
  }

  /** All verdicts in order of age. */
  inOrder(): PeerSelection {
    const peers = [...this.#contenders.values()]
      .sort(byAge)
      .flatMap(({ accepted, peer }) => (accepted && peer ? [peer] : []));
    const refused = [...this.#refused.values()].sort((a, b) => (a.node < b.node ? -1 : 1));
    return { peers, refused };
  }
}

/** Chooses the peers of a network among all Nodes at once. */
export function selectPeers(local: LocalNetwork, nodes: readonly NodeVtep[]): PeerSelection {
  const selector = new PeerSelector(local);
  selector.update(nodes.map((node) => [node.name, node]));
  return selector.inOrder();
}
