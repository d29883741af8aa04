/** MultiNetworkPolicies as they are read: a NetworkPolicy, and the networks that its annotation names. */
import assert from "node:assert/strict";
import { POLICY_FOR_ANNOTATION, readMultiNetworkPolicy, readNetworkPolicy } from "../../../src/policy/index.ts";

const policyFor = (networks: unknown, spec: unknown = { podSelector: {} }): unknown => ({
  metadata: { name: "deny", namespace: "shop", annotations: { [POLICY_FOR_ANNOTATION]: networks } },
  spec,
});
const networksOf = (text: unknown): readonly string[] | undefined =>
  readMultiNetworkPolicy(policyFor(text)).policy?.networks;

describe("reading MultiNetworkPolicies", () => {
  it("has the spec of a NetworkPolicy", () => {
    const spec = {
      podSelector: { matchLabels: { app: "db" } },
      ingress: [{ from: [{ podSelector: {} }, { ipBlock: { cidr: "10.0.0.0/8" } }], ports: [{ port: 1, endPort: 9 }] }],
      policyTypes: ["Ingress", "Egress"],
    };
    const { policy, faults } = readMultiNetworkPolicy(policyFor("net1", spec));
    const { policy: same } = readNetworkPolicy(policyFor("net1", spec));
    assert.deepEqual(faults, []);
    assert.deepEqual(policy, { ...same, kind: "MultiNetworkPolicy", networks: ["shop/net1"] });
  });

  it("is about definitions of its own namespace where it names no other, each once", () => {
    assert.deepEqual(networksOf("net1"), ["shop/net1"]);
    assert.deepEqual(networksOf(" net1 , ns2/net2,net1,shop/net1 "), ["ns2/net2", "shop/net1"]);
  });

  it("says what of the annotation it cannot read, and takes the rest", () => {
    for (const [text, networks, fault] of [
      ["net1,Net_2", ["shop/net1"], /Net_2/],
      ["net1,a/b/c", ["shop/net1"], /a\/b\/c/],
      ["/net1", [], /it must be a name/],
      ["net1,", ["shop/net1"], /it must be a name/],
      ["", [], /it must be a name/],
      ["../../etc", [], /it must be/],
      ["net\u001b[31m", [], /it must be a name/],
      [undefined, [], /is missing: the policy is about no network/],
      [7, [], /it must be a text/],
      [{ toString: "net1" }, [], /it must be a text/],
      ["x".repeat(70_000), [], /at most 65536 characters/],
      [Array.from({ length: 300 }, (_, i) => `n${i}`).join(), [], /names 300 networks; the most is 256/],
    ] as [unknown, string[], RegExp][]) {
      const { policy, faults } = readMultiNetworkPolicy(policyFor(text));
      assert.deepEqual(policy?.networks, networks, JSON.stringify(text)?.slice(0, 40));
      assert.match(faults.join("\n"), fault);
      assert.ok(!faults.join("").includes("\u001b"), "nothing that a terminal obeys");
    }
  });

  it("is none where not even its name can be read, and about no network where there are no annotations", () => {
    assert.equal(readMultiNetworkPolicy({ metadata: { name: "x" } }).policy, undefined);
    assert.equal(readMultiNetworkPolicy(null).policy, undefined);
    const { policy, faults } = readMultiNetworkPolicy({ metadata: { name: "x", namespace: "shop", annotations: [] } });
    assert.deepEqual(policy?.networks, []);
    assert.equal(faults.length, 1);
  });
});
