import assert from "node:assert/strict";
import { renderPolicies } from "../../../../src/cli/policy/index.ts";
import { listPolicies, type ListedPolicy } from "../../../../src/enforcement/observe/policy-list.ts";
import { PolicyModel, readClusterNetworkPolicy, readNetworkPolicy } from "../../../../src/policy/index.ts";

const NODE = "node1";
const NAMESPACES = [
  { name: "shop", labels: {}, audit: false },
  { name: "trial", labels: {}, audit: true },
];

const listed = (namespace: string, name: string, spec: object, generation = 1): ListedPolicy => ({
  kind: "NetworkPolicy",
  namespace,
  name,
  generation,
  ...readNetworkPolicy({ metadata: { namespace, name }, spec }),
});

const POLICIES: readonly ListedPolicy[] = [
  listed("trial", "tried", { podSelector: {} }),
  listed("shop", "closed", { podSelector: {}, policyTypes: ["Ingress"] }, 3),
  listed("shop", "others", { podSelector: { matchLabels: { app: "elsewhere" } } }),
  listed("shop", "broken", { podSelector: { matchExpressions: 7 }, ingress: [{}] }),
  {
    kind: "ClusterNetworkPolicy",
    name: "guard",
    generation: 2,
    ...readClusterNetworkPolicy({
      metadata: { name: "guard" },
      spec: {
        tier: "Admin",
        priority: 5,
        subject: { namespaces: {} },
        ingress: [{ name: "monitoring", action: "Accept", from: [{ namespaces: {} }] }],
      },
    }),
  },
];

const pod = (namespace: string, name: string, ip: string) => ({
  namespace,
  name,
  labels: {},
  ips: [ip],
  ports: [],
  node: NODE,
  hostNetwork: false,
  ended: false,
});

function list(inForce = true) {
  const model = new PolicyModel(NODE);
  model.replace({
    pods: [pod("shop", "a", "10.0.0.1"), pod("shop", "b", "10.0.0.2"), pod("trial", "c", "10.0.0.3")],
    namespaces: NAMESPACES,
    policies: POLICIES.flatMap(({ policy }) => policy ?? []),
  });
  return listPolicies({
    node: NODE,
    state: {
      presence: "some",
      inForce,
      message: inForce ? "network policies are in force" : "network policies are not in force: nft is away",
    },
    policies: POLICIES,
    namespaces: NAMESPACES,
    model,
    counts: [
      {
        policy: "ClusterNetworkPolicy guard",
        direction: "ingress",
        rule: 0,
        verdict: "allow",
        packets: 12,
        bytes: 720,
      },
      { policy: "default deny", direction: "ingress", rule: undefined, verdict: "deny", packets: 3, bytes: 180 },
    ],
  });
}

describe("the list of policies", () => {
  it("tells of each how it stands here, for how many pods and in which generation", () => {
    const found = list().policies.map(({ kind, name, generation, mode, state, pods }) => [
      kind,
      name,
      generation,
      mode,
      state,
      pods,
    ]);
    assert.deepEqual(found, [
      ["ClusterNetworkPolicy", "guard", 2, "enforce", "in force", ["shop/a", "shop/b", "trial/c"]],
      ["NetworkPolicy", "broken", 1, "enforce", "in force", ["shop/a", "shop/b"]],
      ["NetworkPolicy", "closed", 3, "enforce", "in force", ["shop/a", "shop/b"]],
      ["NetworkPolicy", "others", 1, "enforce", "no pods here", []],
      ["NetworkPolicy", "tried", 1, "audit", "in force", ["trial/c"]],
    ]);
  });

  it("tells what is not in force, and why", () => {
    const broken = list().policies.find(({ name }) => name === "broken");
    assert.equal(broken?.why.length, 1);
    assert.match(broken?.why[0] ?? "", /matchExpressions/);
    for (const { state, why } of list(false).policies) {
      assert.equal(state, "not in force");
      assert.ok(why.includes("network policies are not in force: nft is away"));
    }
  });

  it("has what each rule has counted, and what no rule decides", () => {
    const { policies, others } = list();
    assert.deepEqual(policies[0]?.rules, [
      { direction: "ingress", index: 0, name: "monitoring", verdict: "allow", packets: 12, bytes: 720 },
    ]);
    assert.deepEqual(others, [{ what: "default deny", direction: "ingress", verdict: "deny", packets: 3, bytes: 180 }]);
  });

  it("is a table for people", () => {
    const text = renderPolicies(list(), true);
    assert.match(text, /^ClusterNetworkPolicy guard +Admin 5 +2 +enforce +in force +3 +12 +0 +0$/m);
    assert.match(text, /^NetworkPolicy shop\/broken +spec\.podSelector/m);
    assert.match(text, /^ClusterNetworkPolicy guard +ingress\[0\] +monitoring +allow +12 +720$/m);
    assert.match(text, /^default deny +ingress +deny +3 +180$/m);
    assert.doesNotMatch(renderPolicies(list()), /monitoring/);
  });
});
