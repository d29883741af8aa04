import assert from "node:assert/strict";
import fc from "fast-check";
import {
  bestLane,
  type Lane,
  lanesOf,
  type OwnKeys,
  otherSlot,
  type PeerLane,
  slotHere,
} from "../../../src/dataplane/encryption/lanes.ts";
import type { WireguardIdentity } from "../../../src/peers/index.ts";

const shown = (lanes: readonly PeerLane[]): string[] => lanes.map(({ lane, key, port }) => `${lane} ${key} ${port}`);
const own: OwnKeys = { slot: 0, key: "own0" };

describe("lanes between two nodes", () => {
  it("are one while nobody changes a key, as between nodes that know one key alone", () => {
    assert.deepEqual(shown(lanesOf(own, { key: "k", port: 51_871, slot: 0 })), ["0 k 51871"]);
    assert.deepEqual(shown(lanesOf(own, { key: "k", port: 40_000 })), ["0 k 40000"]);
  });

  it("are one for each pair of keys while they are changed, the newest keys behind", () => {
    const next = { key: "a", port: 51_871, slot: 0 as const, next: "b" };
    assert.deepEqual(shown(lanesOf(own, next)), ["0 a 51871", "1 b 51873"]);
    const both = { ...own, next: "own1" };
    assert.deepEqual(shown(lanesOf(both, { key: "a", port: 51_871, slot: 0 })), ["0 a 51871", "2 a 51872"]);
    assert.deepEqual(shown(lanesOf(both, next)), ["0 a 51871", "2 a 51872", "1 b 51873", "3 b 51874"]);
    assert.deepEqual(shown(lanesOf(both, { key: "b", port: 51_873, slot: 1, next: "c" })), [
      "1 b 51873",
      "3 b 51874",
      "0 c 51871",
      "2 c 51872",
    ]);
  });

  it("go on from the port that a node tells, whatever it was", () =>
    assert.deepEqual(shown(lanesOf({ slot: 1, key: "x" }, { key: "k", port: 40_002, slot: 1 })), ["3 k 40003"]));

  it("are one to a node that knows one key alone, by the key that this node has, at the one port", () => {
    const both: OwnKeys = { slot: 1, key: "own1", next: "own0" };
    assert.deepEqual(shown(lanesOf(both, { key: "k", port: 51_871 })), ["2 k 51871"]);
  });

  it("are none to a node that publishes a key of this node, and none by a next one that is this node's", () => {
    const both = { ...own, next: "own1" };
    for (const key of ["own0", "own1"]) assert.deepEqual(lanesOf(both, { key, port: 1, slot: 0, next: "k" }), []);
    assert.deepEqual(shown(lanesOf(own, { key: "k", port: 51_871, slot: 0, next: "own0" })), ["0 k 51871"]);
  });

  it("are two at most while this node has one key", () => {
    const key = fc.constantFrom("a", "b", "own0");
    const identity = fc.record({
      key,
      port: fc.integer({ min: 3, max: 65_532 }),
      slot: fc.constantFrom(0 as const, 1 as const),
      next: key,
    });
    fc.assert(fc.property(identity, (one) => lanesOf(own, one).length <= 2));
  });

  it("are used from the best one that is up; without any, as before", () => {
    const lanes = lanesOf(own, { key: "a", port: 51_871, slot: 0, next: "b" });
    const best = (up: Lane[], before?: Lane) => bestLane(lanes, ({ lane }) => up.includes(lane), before)?.lane;
    assert.deepEqual(
      [best([]), best([0]), best([1]), best([0, 1]), best([], 1), best([0], 1), best([], 2), bestLane([], () => true)],
      [0, 0, 1, 1, 1, 0, 0, undefined],
    );
  });
});

/** A node that changes its key again and again, and hears of the others when it pleases the API server. */
class Node {
  readonly heard = new Map<Node, WireguardIdentity>();
  readonly used = new Map<Node, Lane>();
  readonly agreed = new Set<string>();
  own: OwnKeys;
  readonly #name: string;
  #made = 0;

  constructor(name: string) {
    this.#name = name;
    this.own = { slot: 0, key: `${name}0` };
  }

  get identity(): WireguardIdentity {
    return { ...this.own, port: 100 + 2 * this.own.slot };
  }

  lanesTo(other: Node): PeerLane[] {
    return lanesOf(this.own, this.heard.get(other) as WireguardIdentity);
  }

  /** The key by which it is known on a lane. */
  keyOn(lane: Lane): string | undefined {
    return slotHere(lane) === this.own.slot ? this.own.key : this.own.next;
  }

  rotate(): void {
    if (this.own.next === undefined) this.own = { ...this.own, next: `${this.#name}${++this.#made}` };
  }

  finish(): void {
    const { slot, next } = this.own;
    if (next !== undefined) this.own = { slot: otherSlot(slot), key: next };
  }

  look(): void {
    for (const other of this.heard.keys()) {
      const best = bestLane(
        this.lanesTo(other),
        ({ lane, key }) => this.agreed.has(`${lane} ${key}`),
        this.used.get(other),
      );
      this.used.set(other, best?.lane as Lane);
    }
    // What is no lane any more is taken from the kernel, and what was agreed with it.
    const lanes = new Set(
      [...this.heard.keys()].flatMap((other) => this.lanesTo(other).map(({ lane, key }) => `${lane} ${key}`)),
    );
    for (const one of this.agreed) if (!lanes.has(one)) this.agreed.delete(one);
  }
}

/** The lane of the receiver by which a packet comes in; undefined where it is lost. */
function arrives(from: Node, { lane, key, port }: PeerLane, to: Node): PeerLane | undefined {
  return to
    .lanesTo(from)
    .find((one) => to.keyOn(one.lane) === key && one.key === from.keyOn(lane) && 100 + one.lane === port);
}

/** As rotation.ts has it: a handshake with the next key and that of the other node that is used, and nothing that comes by the old one. */
const mayFinish = (one: Node, others: readonly Node[]): boolean =>
  one.own.next !== undefined &&
  others.every((other) => {
    const its = one.lanesTo(other).find(({ lane }) => lane === one.used.get(other))?.key;
    const sent = other.lanesTo(one).find(({ lane }) => lane === other.used.get(one));
    const by = sent && arrives(other, sent, one);
    return (
      one
        .lanesTo(other)
        .some(({ lane, key }) => slotHere(lane) !== one.own.slot && key === its && one.agreed.has(`${lane} ${key}`)) &&
      by !== undefined &&
      slotHere(by.lane) !== one.own.slot
    );
  });

/** A handshake on each lane that both have, but a blocked one. @param half the second one has not seen it yet */
function shake(
  one: Node,
  other: Node,
  { blocked, half = false }: { blocked?: number | undefined; half?: boolean } = {},
): void {
  for (const lane of one.lanesTo(other)) {
    const there = lane.lane === blocked ? undefined : arrives(one, lane, other);
    if (!there || !arrives(other, there, one)) continue;
    one.agreed.add(`${lane.lane} ${lane.key}`);
    if (!half) other.agreed.add(`${there.lane} ${there.key}`);
  }
}

describe("nodes that change their keys", () => {
  it("lose no packet, in whichever order they hear, agree, look and forget, and come to an end", () => {
    const index = fc.integer({ min: 0, max: 2 });
    const step = fc.record({
      what: fc.constantFrom("rotate", "hear", "hear", "shake", "shake", "shake", "look", "finish", "finish"),
      one: index,
      other: index,
      half: fc.boolean(),
      blocked: fc.constantFrom(undefined, undefined, 0, 1, 2, 3),
    });
    let finished = 0;
    fc.assert(
      fc.property(fc.array(step, { minLength: 100, maxLength: 400 }), (steps) => {
        const nodes = ["a", "b", "c"].map((name) => new Node(name)) as [Node, Node, Node];
        const others = (one: Node): Node[] => nodes.filter((other) => other !== one);
        const pairs = nodes.flatMap((one) => others(one).map((other) => [one, other] as const));
        const hear = (one: Node, other: Node): void => {
          one.heard.set(other, other.identity);
          one.look();
        };
        const finish = (one: Node): void => {
          if (!mayFinish(one, others(one))) return;
          one.finish();
          one.look();
          finished++;
        };
        const nothingIsLost = (): void => {
          for (const [from, to] of pairs) {
            const sent = from.lanesTo(to).find(({ lane }) => lane === from.used.get(to));
            assert.ok(sent && arrives(from, sent, to), `${JSON.stringify(from.own)} to ${JSON.stringify(to.own)}`);
          }
        };
        for (const [one, other] of pairs) one.heard.set(other, other.identity);
        for (const node of nodes) node.look();
        for (const { what, one: i, other: j, half, blocked } of steps) {
          const [one, other] = [nodes[i], nodes[j]] as [Node, Node];
          if (what === "rotate") one.rotate();
          else if (what === "look") one.look();
          else if (what === "finish") finish(one);
          else if (one !== other && what === "hear") hear(one, other);
          else if (one !== other) shake(one, other, { half, blocked });
          nothingIsLost();
        }
        for (let round = 0; round < 4; round++) {
          for (const [one, other] of pairs) hear(one, other);
          for (const [one, other] of pairs) shake(one, other);
          for (const node of nodes) node.look();
          for (const node of nodes) finish(node);
          nothingIsLost();
        }
        for (const { own: left } of nodes) assert.equal(left.next, undefined);
      }),
      { numRuns: 500 },
    );
    assert.ok(finished > 0);
  });
});
