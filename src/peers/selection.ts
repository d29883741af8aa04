/**
 * Which nodes become peers. Every node is judged by itself (validation.ts) and against those that have a better claim
 * (order.ts): Nodes are taken in that order, and whoever claims an address that is taken already is refused alone. A refused
 * node takes nothing, so it stands in nobody's way. What is ours is taken before all others.
 *
 * All nodes come to the same verdict about a pair of others, since the order is the same everywhere. A change costs
 * a look at the nodes that it concerns: those that changed, and those that claim the same with less right, from the best claim
 * to the worst. The whole selection is that change that brings all Nodes.
 */
import { Claims, type Claim } from "./collisions.ts";
import { advantage, byStanding, type Standing, standingOf } from "./order.ts";
import type { LocalNetwork, NodeVtep, Peer, Refusal } from "./types.ts";
import { judgeAlone } from "./validation.ts";

/** The outcome: nodes that have published nothing for the network are in neither list. */
export interface PeerSelection {
  /** Those with the best claims first. */
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

/** A node that would be a peer, if nobody with a better claim claimed the same. */
class Contender {
  readonly claim: Claim;
  readonly peer: Peer | undefined;
  accepted: boolean;
  /** What the API server says of its Node; undefined for our own, of which it changes. */
  readonly node: NodeVtep | undefined;
  /** Worked out when it is first asked for: of thousands of nodes hardly any claims what another one does. */
  standing: Standing | undefined;

  constructor(claim: Claim, peer?: Peer, node?: NodeVtep) {
    this.claim = claim;
    this.peer = peer;
    this.accepted = peer === undefined;
    this.node = node;
  }
}

/** What somebody else has whom all others give it to, though it is ours as well. */
export interface Loss {
  /** Whom it is given to. */
  node: string;
  /** In words, for the reader: what it is, and why. */
  message: string;
}

/** The peers of one network, kept up to date as Nodes change; our own Node is skipped by its name. */
export class PeerSelector {
  readonly local: LocalNetwork;
  /** What this node has itself. */
  readonly #claim: Claim;
  readonly #self: Contender;
  readonly #contenders = new Map<string, Contender>();
  readonly #claims: Claims<Contender>;
  readonly #refused = new Map<string, Refusal>();
  readonly #peers = new Map<string, Peer>();

  /** Nodes that claim what another one does, or did. */
  readonly #contested = new Set<string>();
  #own: NodeVtep | undefined;

  constructor(local: LocalNetwork) {
    this.local = local;
    this.#claims = new Claims(local.isolated === true);
    this.#claim = { ...local, underlayIp: local.publicIp ?? local.underlayIp };
    this.#self = new Contender(this.#claim);
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

  /** Nodes of which it depends on their standing who gets what, our own among them where it is concerned. */
  *contested(): Generator<string> {
    let withUs = false;
    for (const name of this.#contested) {
      const one = this.#contenders.get(name);
      if (!one || !this.#hasRivals(one)) {
        this.#contested.delete(name);
        continue;
      }
      withUs ||= this.#refused.get(name)?.reason === "CollidesWithSelf";
      yield name;
    }
    if (withUs) yield this.local.node;
  }

  /** What of ours the other nodes give to somebody else. */
  losses(): Loss[] {
    const losses: Loss[] = [];
    const own = this.#standing(this.#claim, this.#own);
    for (const name of this.#contested) {
      const one = this.#contenders.get(name);
      if (!one || this.#refused.get(name)?.reason !== "CollidesWithSelf" || byStanding(this.#standingOf(one), own) > 0)
        continue;
      this.#claims.rivals(this.#self, (other, _reason, what) => {
        if (other !== one || losses.some(({ node }) => node === name)) return;
        losses.push({ node: name, message: `${what()} of the ${advantage(this.#standingOf(one), own)} node ${name}` });
      });
    }
    return losses;
  }

  #standingOf(one: Contender): Standing {
    return (one.standing ??= this.#standing(one.claim, one.node));
  }

  #standing({ node, mac, underlayIp }: Claim, from: NodeVtep | undefined): Standing {
    const vni = this.#contenders.get(node)?.peer?.vni ?? this.local.vni;
    return standingOf({ node, mac, underlayIp }, vni, from?.creationTimestamp ?? "", from?.granted);
  }

  /** Takes Nodes as they are now, by name; undefined for those that are gone. Never throws for what a Node says. */
  update(nodes: Iterable<readonly [name: string, node: NodeVtep | undefined]>): SelectionChange {
    const change: SelectionChange = { peers: new Map(), former: [], refusals: false };
    const doubtful = new Set<Contender>();
    for (const [name, node] of nodes) {
      if (name === this.local.node) {
        this.#own = node;
        continue;
      }
      const former = this.#contenders.get(name);
      if (former) this.#leave(former, doubtful);
      const verdict = node && judgeAlone(this.local, node);
      const refusal = verdict && "reason" in verdict ? verdict : undefined;
      const peer = verdict && !("reason" in verdict) ? verdict : undefined;
      if (node && peer) doubtful.add(this.#enter(new Contender(peer, peer, node)));
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
        if (this.#before(contender, other)) doubtful.add(other);
      });
    }
    this.#contenders.delete(contender.claim.node);
    this.#claims.remove(contender);
    doubtful.delete(contender);
  }

  /** Whether the first one has the better claim; ours is better than all others here. */
  #before(a: Contender, b: Contender): boolean {
    if (a === this.#self || b === this.#self) return a === this.#self;
    return byStanding(this.#standingOf(a), this.#standingOf(b)) < 0;
  }

  #hasRivals(one: Contender): boolean {
    let found = false;
    this.#claims.rivals(one, () => (found = true));
    return found;
  }

  /** Decides about contenders from the best claim to the worst, and about those that hang on their fate. */
  #settle(doubtful: ReadonlySet<Contender>, change: SelectionChange): void {
    const queue: Contender[] = [];
    for (const one of doubtful) {
      if (this.#hasRivals(one)) queue.push(one);
      else this.#decide(one, undefined, change);
    }
    queue.sort((a, b) => (this.#before(a, b) ? -1 : 1));
    const waiting = new Set(queue);
    for (let at = 0; at < queue.length; at++) {
      const one = queue[at] as Contender;
      waiting.delete(one);
      this.#contested.add(one.claim.node);
      const { refusal, lesser } = this.#against(one);
      const before = one.accepted;
      this.#decide(one, refusal, change);
      if (one.accepted === before) continue;
      for (const other of lesser) {
        if (waiting.has(other)) continue;
        waiting.add(other);
        let place = queue.length;
        while (place > at + 1 && this.#before(other, queue[place - 1] as Contender)) place--;
        queue.splice(place, 0, other);
      }
    }
  }

  #decide(one: Contender, refusal: Refusal | undefined, change: SelectionChange): void {
    this.#refuse(one.claim.node, refusal, change);
    this.#accept(one.claim.node, refusal ? undefined : one.peer, change);
    one.accepted = refusal === undefined;
  }

  /** Holds one against its rivals: what those with better claims make of it, and those who depend on it. */
  #against(one: Contender): { refusal: Refusal | undefined; lesser: Contender[] } {
    const { node } = one.claim;
    const lesser: Contender[] = [];
    let refusal: Refusal | undefined;
    this.#claims.rivals(one, (other, reason, what) => {
      if (other !== this.#self) this.#contested.add(other.claim.node);
      if (!this.#before(other, one)) lesser.push(other);
      else if (!other.accepted || refusal) return;
      else if (other === this.#self)
        refusal = { node, reason: "CollidesWithSelf", message: `${what()} of this node itself` };
      else {
        const why = advantage(this.#standingOf(other), this.#standingOf(one));
        refusal = { node, reason, message: `${what()} of the ${why} node ${other.claim.node}` };
      }
    });
    return { refusal, lesser };
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

  /** All verdicts, of peers those with the best claims first. */
  inOrder(): PeerSelection {
    const peers = [...this.#contenders.values()]
      .sort((a, b) => byStanding(this.#standingOf(a), this.#standingOf(b)))
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
