/** Made-up failures between nodes, measured as agents would measure them, must be named as what they are. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { judge, type Observation, type Seen, type Verdict } from "../../../src/probes/judge.ts";

/** What is wrong in a made-up cluster. */
interface World {
  size: number;
  /** Off: neither answer nor ask. */
  off?: readonly number[];
  /** Nothing passes between the two sides. */
  cut?: readonly [readonly number[], readonly number[]];
  /** VXLAN packets that are lost, by who sends them to whom. */
  blocked?: (from: number, to: number) => boolean;
  /** Pairs whose path is too narrow. */
  narrow?: (a: number, b: number) => boolean;
  lossy?: (a: number, b: number) => boolean;
}

/** Two digits, so that names are in the order of numbers. */
const nameOf = (n: number): string => `node${String(n).padStart(2, "0")}`;
const names = (numbers: readonly number[]): string[] => numbers.map(nameOf).sort();
const all = (size: number): number[] => Array.from({ length: size }, (_, n) => n);

/** What one finds of another, as its agent would. */
function measure(world: World, from: number, to: number): Observation {
  const { off = [], cut, blocked = () => false, narrow = () => false, lossy = () => false } = world;
  const parted = cut?.some((side, n) => side.includes(from) && cut[1 - n]?.includes(to)) ?? false;
  const dead = parted || off.includes(to);
  const silent = dead || blocked(from, to) || blocked(to, from);
  const inside: Seen = silent ? "silent" : narrow(from, to) ? "narrow" : lossy(from, to) ? "lossy" : "answers";
  return {
    from: nameOf(from),
    to: nameOf(to),
    inside: { 4: inside, 6: inside },
    beside: dead ? "silent" : "answers",
    ...(silent && !dead && { hears: !blocked(to, from) }),
  };
}

/** Everything that all nodes find. */
function whole(world: World): Observation[] {
  const alive = all(world.size).filter((n) => !world.off?.includes(n));
  return alive.flatMap((from) => all(world.size).flatMap((to) => (from === to ? [] : [measure(world, from, to)])));
}

/** What one agent knows: its own row, and what a few that answer it tell of those that do not; these as well, where they can be asked. */
function sparse(world: World, own: number, helpers = 4): Observation[] {
  const row = all(world.size).flatMap((to) => (to === own ? [] : [measure(world, own, to)]));
  const fine = all(world.size).filter((to) => to !== own && measure(world, own, to).inside[4] === "answers");
  const bad = all(world.size).filter((to) => to !== own && measure(world, own, to).inside[4] !== "answers");
  const told = bad.flatMap((to) => [
    ...all(helpers).flatMap((n) => {
      const helper = fine[(to * 7 + n) % fine.length];
      return helper === undefined ? [] : [measure(world, helper, to)];
    }),
    ...(measure(world, own, to).beside === "answers" ? [measure(world, to, own)] : []),
  ]);
  return [...row, ...told];
}

const short = ({ fault, scope, nodes, lost }: Verdict): Partial<Verdict> => ({
  fault,
  scope,
  nodes,
  ...(lost && { lost }),
});
const size = fc.integer({ min: 6, max: 30 });

describe("judging what nodes measure of each other", () => {
  it("finds nothing where all answer", () => {
    assert.deepEqual(judge(whole({ size: 8 })), []);
    assert.deepEqual(judge([]), []);
  });

  it("names nodes that are off, and no others, from the whole matrix and from what one agent knows", () => {
    fc.assert(
      fc.property(size, fc.uniqueArray(fc.nat(29), { minLength: 1, maxLength: 3 }), (nodes, some) => {
        const off = [...new Set(some.map((n) => n % nodes))].sort((a, b) => a - b);
        const world = { size: nodes, off };
        const wanted = off.map((n) => ({ fault: "down", scope: "node", nodes: [nameOf(n)] }));
        const own = all(nodes).find((n) => !off.includes(n)) as number;
        for (const known of [whole(world), sparse(world, own)])
          assert.deepEqual(
            judge(known)
              .map(short)
              .sort((a, b) => (String(a.nodes) < String(b.nodes) ? -1 : 1)),
            wanted,
          );
      }),
    );
  });

  it("names the link between two racks that live, from the whole matrix", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 2, max: 8 }), fc.nat(8), (near, far, rest) => {
        const a = all(near);
        const b = all(far).map((n) => n + near);
        const world: World = { size: near + far + rest, cut: [a, b] };
        assert.deepEqual(judge(whole(world)), [{ fault: "down", scope: "link", nodes: names(a), others: names(b) }]);
      }),
    );
  });

  it("names it from what one agent knows, where others reach both", () => {
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 8 }), fc.integer({ min: 2, max: 8 }), (near, far) => {
        const [a, b] = [all(near), all(far).map((n) => n + near)];
        // As many in the third rack as make it likely that one of them is asked about each.
        const world: World = { size: near + far + 24, cut: [a, b] };
        for (const { fault, scope, nodes, others } of judge(sparse(world, 0, 12))) {
          assert.deepEqual([fault, scope], ["down", "link"]);
          assert.deepEqual(others, names(b));
          assert.ok(nodes.includes(nameOf(0)) && nodes.every((node) => names(a).includes(node)));
        }
      }),
    );
  });

  it("tells a port that is blocked in one direction from one that is blocked in both, between two nodes", () => {
    fc.assert(
      fc.property(size, fc.nat(29), fc.nat(29), fc.boolean(), (nodes, x, y, both) => {
        const [from, to] = [x % nodes, y % nodes];
        fc.pre(from !== to);
        const world: World = {
          size: nodes,
          blocked: (sender, receiver) =>
            (sender === from && receiver === to) || (both && sender === to && receiver === from),
        };
        const first = Math.min(from, to);
        const wanted = {
          fault: "tunnel",
          scope: "pair",
          nodes: [nameOf(first)],
          lost: both ? "both" : first === from ? "from" : "to",
        };
        for (const known of [whole(world), sparse(world, from), sparse(world, to)])
          assert.deepEqual(judge(known).map(short), [wanted]);
      }),
    );
  });

  it("tells the direction from what one end alone hears", () => {
    const world: World = { size: 5, blocked: (sender, receiver) => sender === 1 && receiver === 2 };
    const row = (own: number): Observation[] => all(5).flatMap((to) => (to === own ? [] : [measure(world, own, to)]));
    assert.deepEqual(judge(row(1)).map(short), [{ fault: "tunnel", scope: "pair", nodes: ["node01"], lost: "from" }]);
    // That nothing is heard of a node may be because it sends nothing.
    assert.deepEqual(judge(row(2)).map(short), [{ fault: "tunnel", scope: "pair", nodes: ["node01"] }]);
  });

  it("names a node whose port is blocked, with the direction, whoever judges", () => {
    fc.assert(
      fc.property(size, fc.nat(29), fc.boolean(), (nodes, x, comes) => {
        const bad = x % nodes;
        const world: World = { size: nodes, blocked: (from, to) => (comes ? to : from) === bad };
        const wanted = [{ fault: "tunnel", scope: "node", nodes: [nameOf(bad)], lost: comes ? "to" : "from" }];
        for (const known of [whole(world), sparse(world, (bad + 1) % nodes), sparse(world, bad)])
          assert.deepEqual(judge(known).map(short), wanted);
      }),
    );
  });

  it("names everything where the port is blocked everywhere", () => {
    const [verdict, ...more] = judge(whole({ size: 5, blocked: () => true }));
    assert.deepEqual(more, []);
    assert.deepEqual([verdict?.fault, verdict?.scope, verdict?.others], ["tunnel", "all", names(all(5))]);
  });

  it("tells several faults at once apart", () => {
    const world: World = {
      size: 16,
      off: [9],
      cut: [
        [0, 1, 2],
        [3, 4, 5],
      ],
      blocked: (from, to) => from === 7 && to === 8,
      narrow: (a, b) => a === 11 || b === 11,
    };
    assert.deepEqual(judge(whole(world)).map(short), [
      { fault: "down", scope: "node", nodes: ["node09"] },
      { fault: "down", scope: "link", nodes: names([0, 1, 2]) },
      { fault: "tunnel", scope: "pair", nodes: ["node07"], lost: "from" },
      { fault: "narrow", scope: "node", nodes: ["node11"] },
    ]);
  });

  it("names a narrow path, and a node that loses packets with most of the others though not with all", () => {
    assert.deepEqual(judge(whole({ size: 6, narrow: (a, b) => a + b === 3 && a * b === 2 })).map(short), [
      { fault: "narrow", scope: "pair", nodes: ["node01"] },
    ]);
    const lossy = (a: number, b: number): boolean => (a === 4 || b === 4) && a !== 0 && b !== 0;
    assert.deepEqual(judge(whole({ size: 6, lossy })).map(short), [
      { fault: "loss", scope: "node", nodes: ["node04"] },
    ]);
  });

  it("names the family that does not pass", () => {
    const observation: Observation = { from: "a", to: "b", inside: { 4: "answers", 6: "silent" }, beside: "answers" };
    assert.deepEqual(judge([observation]).map(short), [{ fault: "family6", scope: "pair", nodes: ["a"] }]);
  });

  it("says no more of a machine than is known, and takes from others what they know", () => {
    const silent = (from: string, beside?: Seen): Observation => ({
      from,
      to: "x",
      inside: { 4: "silent" },
      ...(beside && { beside }),
    });
    const fine: Observation = { from: "a", to: "b", inside: { 4: "answers" } };
    assert.deepEqual(judge([silent("a"), silent("b"), fine]).map(short), [
      { fault: "silent", scope: "node", nodes: ["x"] },
    ]);
    assert.deepEqual(judge([silent("a"), silent("b", "answers"), fine]).map(short), [
      { fault: "tunnel", scope: "node", nodes: ["x"] },
    ]);
    assert.deepEqual(judge([silent("a"), silent("b", "silent"), fine]).map(short), [
      { fault: "down", scope: "node", nodes: ["x"] },
    ]);
  });

  it("does not depend on the order of what was observed, and takes back nothing for more of the same", () => {
    const world: World = { size: 8, off: [1], blocked: (from, to) => from === 3 && to === 4 };
    const known = whole(world);
    fc.assert(
      fc.property(fc.shuffledSubarray(known, { minLength: known.length }), (shuffled) => {
        assert.deepEqual(judge(shuffled), judge(known));
      }),
      { numRuns: 30 },
    );
    assert.deepEqual(judge([...known, ...known]), judge(known));
  });
});
