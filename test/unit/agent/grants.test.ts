import assert from "node:assert/strict";
import { Grants } from "../../../src/agent/grants.ts";
import type { Inputs, NodeFacts } from "../../../src/nodes/index.ts";

const node = (name: string, podCidrs: string[], addresses: string[]): NodeFacts => ({
  name,
  uid: `uid of ${name}`,
  creationTimestamp: "2026-01-01T00:00:00Z",
  vtepAnnotation: "{}",
  granted: { podCidrs, addresses },
});
const own: Inputs["own"] = { name: "n1", podCidrs: ["10.244.1.0/24", "fd00:1::/64"], internalIps: ["172.30.0.1"] };
const n2 = node("n2", ["10.244.2.0/24"], ["172.30.0.2"]);

describe("what nodes have been given", () => {
  it("is theirs by the API server's word, with the addresses that they have in the overlay", () => {
    const grants = new Grants();
    assert.equal(grants.podCidrs("n2"), undefined);
    assert.equal(grants.ips("n2"), undefined);
    // What our own Node is said to have among the others is no news.
    const said = node("n1", ["10.9.0.0/24"], []);
    assert.deepEqual(grants.update({ own, nodes: [said, n2] }, new Map()).sort(), ["n1", "n2"]);
    assert.deepEqual(grants.podCidrs("n1"), own.podCidrs);
    assert.deepEqual(grants.ips("n1"), ["172.30.0.1", "10.244.1.0", "fd00:1::"]);
    assert.deepEqual(grants.ips("n2"), ["172.30.0.2", "10.244.2.0"]);
  });

  it("is told of where it is something else, and of nothing where it is not", () => {
    const grants = new Grants();
    const update = (changes: [string, NodeFacts | undefined][], now = own): string[] =>
      grants.update({ own: now, nodes: [n2] }, new Map(changes));
    update([]);
    assert.deepEqual(update([]), []);
    assert.deepEqual(update([["n2", node("n2", ["10.244.2.0/24"], ["172.30.0.2"])]]), []);
    assert.deepEqual(update([["n2", node("n2", ["10.244.2.0/24"], ["172.30.0.9"])]]), ["n2"]);
    assert.deepEqual(update([["n3", node("n3", ["10.244.3.0/24"], [])]]), ["n3"]);
    const otherwise = { ...own, podCidrs: ["10.244.7.0/24"] };
    assert.deepEqual(update([], otherwise), ["n1"]);
    assert.deepEqual(update([["n2", undefined]], otherwise), ["n2"]);
    assert.equal(grants.podCidrs("n2"), undefined);
  });
});
