import assert from "node:assert/strict";
import fc from "fast-check";
import { type Endpoint, ownEndpoints, ownersOf, type PortFacts } from "../../../src/endpoints/index.ts";

const MAC = "02:00:00:00:00:01";
const port = (more: Partial<PortFacts> = {}): PortFacts => ({
  ifname: "sky1",
  mac: MAC,
  ips: ["10.80.0.5"],
  claimed: true,
  ...more,
});
const at = (moves: number, more: Partial<Endpoint> = {}): Endpoint => ({
  mac: MAC,
  ips: ["10.80.0.5"],
  moves,
  ...more,
});
const decide = (ports: PortFacts[], lists: Record<string, Endpoint[]>, taking: string[] = []) =>
  ownEndpoints({ node: "n1", ports, lists: new Map(Object.entries(lists)), taking: new Set(taking) });

describe("what a node publishes of its pods", () => {
  it("is what its pods have, unmoved, and the same again", () => {
    const { own } = decide([port()], {});
    assert.deepEqual([...own.values()], [at(0)]);
    assert.deepEqual([...decide([port()], { n1: [at(3)] }).own.values()], [at(3)]);
  });

  it("no longer has pods that are gone", () => {
    assert.equal(decide([], { n1: [at(0)] }).own.size, 0);
  });

  it("leaves a claim's addresses to the node that has them, until they are to be taken", () => {
    const elsewhere = { n2: [at(4)] };
    assert.equal(decide([port()], elsewhere).own.size, 0);
    const { own, from } = decide([port()], elsewhere, [MAC]);
    assert.deepEqual([...own.values()], [at(5)]);
    assert.equal(from.get(MAC)?.node, "n2");
    assert.equal(from.get(MAC)?.moves, 4);
  });

  it("tells of a claim that is left to a pod here when the one that had it has gone, and of no other", () => {
    assert.deepEqual([...decide([port()], { n2: [] }).left], [MAC]);
    assert.deepEqual([...decide([port()], {}, [MAC]).left], []);
    assert.deepEqual([...decide([port()], { n1: [at(3)] }).left], []);
    assert.deepEqual([...decide([port({ claimed: false })], {}).left], []);
    assert.deepEqual([...decide([port()], { n2: [at(4)] }).left], []);
  });

  it("takes what is its own node's to give, whoever still says that he has it", () => {
    const stale = { n2: [at(2, { mac: "02:00:00:00:00:99" })] };
    const { own, from } = decide([port({ claimed: false })], stale);
    assert.deepEqual([...own.values()], [at(3)]);
    assert.equal(from.get(MAC)?.node, "n2");
  });

  it("takes no MAC over for a pod without a claim, whoever has it", () => {
    const elsewhere = { n2: [at(0, { ips: ["10.80.0.9"] })] };
    const { own, refused } = decide([port({ claimed: false })], elsewhere);
    assert.equal(own.size, 0);
    const [holder] = refused.values();
    assert.ok(holder && "endpoint" in holder && holder.endpoint.node === "n2");
    // What it published before stays its own, as far as it is concerned.
    const known = decide([port({ claimed: false })], { n1: [at(0)], ...elsewhere });
    assert.deepEqual([[...known.own.values()], known.refused.size], [[at(0)], 0]);
  });

  it("leaves a MAC to the pod here that had it, and one with a claim has it before any other", () => {
    const first = port({ ifname: "sky9", claimed: false, ips: ["10.80.0.5"] });
    const second = port({ ifname: "sky2", claimed: false, ips: ["10.80.0.6"] });
    const decided = (ports: PortFacts[], holders: Record<string, string>) =>
      ownEndpoints({
        node: "n1",
        ports,
        lists: new Map(),
        taking: new Set(),
        holders: new Map(Object.entries(holders)),
      });
    const { own, holders, refused } = decided([second, first], { [MAC]: "sky9" });
    assert.deepEqual([...own.values()], [at(0)]);
    assert.deepEqual([...holders], [[MAC, "sky9"]]);
    assert.deepEqual([...refused], [["sky2", { port: "sky9" }]]);
    const claim = port({ ifname: "skya", ips: ["10.80.0.7"] });
    assert.deepEqual([...decided([first, claim], { [MAC]: "sky9" }).refused], [["sky9", { port: "skya" }]]);
  });

  it("gives up a claim that was taken over, and not what it gave out itself", () => {
    const both = { n1: [at(1)], n2: [at(2)] };
    const moved = decide([port()], both);
    assert.deepEqual([moved.own.size, moved.lost.get(MAC)?.node], [0, "n2"]);
    const disputed = decide([port({ claimed: false })], both);
    assert.deepEqual([[...disputed.own.values()], disputed.disputed.get(MAC)?.node], [[at(1)], "n2"]);
  });

  it("comes to one owner on all nodes, whatever is seen late", () => {
    const NODES = ["a", "b", "c"];
    type Step = { kind: "attach" | "detach" | "speak" | "hear" | "decide"; node: string };
    const step = fc.record({
      kind: fc.constantFrom<Step["kind"]>("attach", "detach", "speak", "hear", "decide"),
      node: fc.constantFrom(...NODES),
    });
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const published = new Map<string, Endpoint[]>(NODES.map((node) => [node, []]));
        /** What each node has heard of the others. */
        const views = new Map(NODES.map((node) => [node, new Map<string, readonly Endpoint[]>()]));
        const ports = new Set<string>();
        const hear = (node: string) => void views.set(node, new Map(published));
        const work = (node: string, taking: string[] = []): boolean => {
          const lists = new Map([...(views.get(node) ?? []), [node, published.get(node) ?? []]]);
          const has = ports.has(node) ? [port()] : [];
          const { own } = ownEndpoints({ node, ports: has, lists, taking: new Set(taking) });
          const before = JSON.stringify(published.get(node));
          published.set(node, [...own.values()]);
          return JSON.stringify(published.get(node)) !== before;
        };
        for (const { kind, node } of steps) {
          if (kind === "attach") ports.add(node);
          if (kind === "detach") ports.delete(node);
          if (kind === "hear") hear(node);
          else work(node, kind === "speak" ? [MAC] : []);
        }
        const settle = () => {
          for (let round = 0; round < 6; round++) {
            for (const node of NODES) hear(node);
            if (!NODES.map((node) => work(node)).includes(true)) return;
          }
          assert.fail("it never comes to rest");
        };
        settle();
        const owner = () => ownersOf(published).byMac.get(MAC)?.node;
        assert.equal(owner() === undefined, ports.size === 0);
        if (owner() !== undefined) assert.ok(ports.has(owner() as string));
        for (const list of published.values())
          assert.ok(list.length === 0 || list === published.get(owner() as string));
        // From rest, whoever speaks has it.
        for (const node of ports) {
          work(node, [MAC]);
          settle();
          assert.equal(owner(), node);
        }
      }),
      { numRuns: 500 },
    );
  });
});
