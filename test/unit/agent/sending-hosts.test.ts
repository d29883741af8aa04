import assert from "node:assert/strict";
import { SendingHosts } from "../../../src/firewall/sending-hosts.ts";
import { eventually } from "../../support/eventually.ts";

const X = "10.50.0.9";
const Y = "10.50.0.10";
type Step = [node: string, before: readonly string[], now: readonly string[]];

/** One that keeps an account of what it told. */
function hosts(lingerMs: number): { hosts: SendingHosts; told: Step[] } {
  const told: Step[] = [];
  const one: SendingHosts = new SendingHosts((nodes, before) => {
    for (const node of nodes) told.push([node, before(node), one.of(node)]);
  }, lingerMs);
  return { hosts: one, told };
}

describe("single addresses that nodes may send from", () => {
  it("are those that they have", () => {
    const { hosts: one, told } = hosts(60_000);
    one.set(new Map([["a", [X]]]));
    assert.deepEqual(told, [["a", [], [X]]]);
    one.set(new Map([["a", [X]]]));
    assert.equal(told.length, 1);
    assert.deepEqual([one.of("a"), one.of("b")], [[X], []]);
    one.stop();
  });

  for (const [order, steps] of [
    ["one node's news comes in one piece with the other's", [new Map([["b", [X]]])]],
    ["the former node's news comes first", [new Map(), new Map([["b", [X]]])]],
  ] as const)
    it(`are for a moment those that they had, when ${order}`, async () => {
      const { hosts: one, told } = hosts(1);
      one.set(new Map([["a", [X, Y]]]));
      for (const step of steps) one.set(new Map([...step, ["c", []]]));
      assert.deepEqual([one.of("a"), one.of("b")], [[X, Y], [X]]);
      await eventually(() => one.of("a").length === 0, { message: "the former node has it for ever" });
      assert.deepEqual([one.of("a"), one.of("b")], [[], [X]]);
      assert.deepEqual(told.at(-1), ["a", [X, Y], []]);
      one.stop();
    });

  it("are for a moment those that a claim's status says a node has, before its endpoint does", async () => {
    const { hosts: one, told } = hosts(1);
    one.set(new Map([["a", [X]]]), new Map([["a", [X]]]));
    assert.deepEqual(told, [["a", [], [X]]]);
    one.set(new Map([["a", [X]]]), new Map([["b", [X]]]));
    assert.deepEqual([one.of("a"), one.of("b")], [[X], [X]]);
    await eventually(() => one.of("b").length === 0, { message: "a status alone counts for ever" });
    assert.deepEqual(one.of("a"), [X]);
    one.set(new Map([["b", [X]]]), new Map([["b", [X]]]));
    assert.deepEqual(one.of("b"), [X]);
    one.stop();
  });

  it("are those of a node to which they came back before the moment was over", async () => {
    const { hosts: one } = hosts(1);
    one.set(new Map([["a", [X]]]));
    one.set(new Map([["b", [X, Y]]]));
    one.set(
      new Map([
        ["a", [X]],
        ["b", [Y]],
      ]),
    );
    await eventually(() => String(one.of("b")) === Y, { message: "the other node has it for ever" });
    assert.deepEqual(one.of("a"), [X]);
    one.stop();
  });
});
