import assert from "node:assert/strict";
import { matchesSelector, parsePodNetwork, resolveConflicts } from "../../../src/crd/index.ts";
import { generator, podNetwork } from "./support.ts";

const selector = (namespaceSelector: unknown) =>
  parsePodNetwork(podNetwork("blue", { namespaceSelector })).namespaceSelector;
const matches = (value: unknown, labels: Record<string, string>) => matchesSelector(selector(value), labels);

describe("who may attach to a pod network", () => {
  it("is nobody without a selector and everybody with an empty one", () => {
    assert.equal(matches(undefined, { a: "1" }), false);
    assert.equal(matches(null, {}), false);
    assert.equal(matches({}, {}), true);
  });

  it("is who has all labels and meets all expressions", () => {
    assert.equal(matches({ matchLabels: { a: "1", b: "2" } }, { a: "1", b: "2", c: "3" }), true);
    assert.equal(matches({ matchLabels: { a: "1", b: "2" } }, { a: "1" }), false);
    const cases: [string, string[] | undefined, Record<string, string>, boolean][] = [
      ["In", ["x", "y"], { k: "y" }, true],
      ["In", ["x"], { k: "y" }, false],
      ["In", ["x"], {}, false],
      ["NotIn", ["x"], { k: "x" }, false],
      ["NotIn", ["x"], { k: "y" }, true],
      ["NotIn", ["x"], {}, true],
      ["Exists", undefined, { k: "" }, true],
      ["Exists", undefined, {}, false],
      ["DoesNotExist", [], {}, true],
      ["DoesNotExist", [], { k: "" }, false],
    ];
    for (const [operator, values, labels, wanted] of cases) {
      assert.equal(matches({ matchExpressions: [{ key: "k", operator, values }] }, labels), wanted, operator);
    }
    const both = { matchLabels: { a: "1" }, matchExpressions: [{ key: "k", operator: "Exists" }] };
    assert.equal(matches(both, { a: "1" }), false);
  });

  it("does not take what every object inherits for labels", () => {
    assert.equal(matches({ matchExpressions: [{ key: "constructor", operator: "Exists" }] }, {}), false);
  });

  it("is not decided by a selector that cannot be meant", () => {
    const wrong = [
      { key: "k", operator: "Is" },
      { key: "", operator: "Exists" },
      { key: "k", operator: "In" },
      { key: "k", operator: "Exists", values: ["x"] },
      { key: "k", operator: "In", values: [1] },
      null,
    ];
    for (const one of wrong) assert.throws(() => selector({ matchExpressions: [one] }), /matchExpressions\[0\]/);
  });
});

describe("networks with one VNI", () => {
  const network = (name: string, vni: number, creationTimestamp: string) =>
    parsePodNetwork(podNetwork(name, { vni }, { creationTimestamp }));

  it("are told apart by age, then by name", () => {
    const networks = [
      network("green", 7, "2026-01-02T00:00:00Z"),
      network("blue", 7, "2026-01-01T00:00:00Z"),
      network("b", 8, "2026-01-01T00:00:00Z"),
      network("a", 8, "2026-01-01T00:00:00Z"),
      network("old", 4096, "2020-01-01T00:00:00Z"),
      network("default", 4096, "2026-01-03T00:00:00Z"),
    ];
    const { accepted, refused } = resolveConflicts(networks, 4096);
    assert.deepEqual([...accepted.keys()].sort(), ["a", "blue"]);
    const brief = refused.map(({ network: { name }, other, reason }) => `${name} ${reason} ${other}`).sort();
    assert.deepEqual(brief, ["b VniTaken a", "green VniTaken blue", "old VniTaken default"]);
    assert.match(refused.find(({ other }) => other === "blue")?.message ?? "", /green.*VNI 7.*blue/);
  });

  it("are told apart alike by all nodes, whatever they heard first", () => {
    const random = generator(3);
    for (let round = 0; round < 200; round++) {
      const networks = Array.from({ length: 8 }, (_, i) =>
        network(`n${i}`, 1 + random(4), `2026-01-0${1 + random(3)}T00:00:00Z`),
      );
      const shuffled = networks.map((one) => [random(1000), one] as const).sort(([a], [b]) => a - b);
      const names = (from: typeof networks) => [...resolveConflicts(from, 1).accepted.keys()].sort();
      assert.deepEqual(names(shuffled.map(([, one]) => one)), names(networks));
      assert.equal(
        new Set(names(networks).map((name) => networks.find((n) => n.name === name)?.vni)).size,
        names(networks).length,
      );
    }
  });
});
