import assert from "node:assert/strict";
import { type ExplainContext, explainPackets, explainPod } from "../../../../src/enforcement/observe/explain.ts";
import { QuestionError, readQuestion } from "../../../../src/enforcement/observe/question.ts";
import { readClusterNetworkPolicy, readNetworkPolicy } from "../../../../src/policy/index.ts";
import type { Pod, Policy } from "../../../../src/policy/semantics/types.ts";

const pod = (name: string, node: string, ...ips: string[]): Pod => ({
  namespace: "shop",
  name,
  labels: { app: name },
  ips,
  ports: [],
  node,
  hostNetwork: false,
  ended: false,
});

const FRONT = pod("front", "node1", "10.0.0.1", "fd00::1");
const BACK = pod("back", "node2", "10.0.1.1", "fd01::1");

function policyOf(name: string, spec: object, audit = false): Policy {
  const annotations = audit ? { "skylane.dev/policy-mode": "audit" } : {};
  const { policy } = readNetworkPolicy({ metadata: { namespace: "shop", name, annotations }, spec });
  assert.ok(policy);
  return policy;
}

function ofCluster(name: string, spec: object): Policy {
  const { policy, faults } = readClusterNetworkPolicy({ metadata: { name }, spec });
  assert.deepEqual(faults, []);
  assert.ok(policy);
  return policy;
}

const context = (policies: Policy[], ruled?: boolean): ExplainContext => ({
  world: {
    pods: [FRONT, BACK],
    namespaces: [{ name: "shop", labels: { kind: "shop" }, audit: false }],
    nodes: [{ name: "node2", labels: {}, ips: ["172.30.0.2", "10.0.1.0"] }],
    policies,
  },
  ruled: () => ruled,
  isHere: ({ node }) => node === "node2",
});

const TCP = { protocol: "TCP", port: 8080 } as const;
const CLOSED = policyOf("closed", { podSelector: {} });
const OPEN = policyOf("front-to-back", {
  podSelector: { matchLabels: { app: "back" } },
  ingress: [{ from: [{ podSelector: { matchLabels: { app: "front" } } }], ports: [{ port: 8080 }] }],
});
const DENY = ofCluster("no-front", {
  tier: "Admin",
  priority: 7,
  subject: { namespaces: {} },
  ingress: [
    {
      name: "fronts stay away",
      action: "Deny",
      from: [{ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "front" } } } }],
    },
  ],
});

describe("the explanation of a verdict", () => {
  it("names the rule that allows, in each family that both ends have", () => {
    const packets = explainPackets(context([CLOSED, OPEN], true), { pod: FRONT }, { pod: BACK }, TCP);
    assert.deepEqual(
      packets.map(({ source, destination, allowed, egress, ingress }) => [
        source.ip,
        destination.who,
        allowed,
        egress?.why,
        ingress?.why,
        ingress?.rules,
      ]),
      ["10.0.0.1", "fd00::1"].map((ip) => [
        ip,
        "pod shop/back",
        true,
        "no policy says anything about it, so it passes",
        "NetworkPolicy shop/front-to-back allows it by ingress[0]",
        "the same",
      ]),
    );
  });

  it("names the policies that isolate a pod where none allows it", () => {
    const [packet] = explainPackets(
      context([CLOSED, OPEN], false),
      { pod: FRONT },
      { pod: BACK },
      { ...TCP, port: 22 },
    );
    assert.equal(packet?.allowed, false);
    assert.equal(
      packet?.ingress?.why,
      "default deny: the pod is isolated by NetworkPolicy shop/closed, shop/front-to-back, and no rule for ingress allows it",
    );
    assert.equal(packet?.egress?.rules, "on another node");
  });

  it("names a rule of the cluster by its author's name, before what a namespace says", () => {
    const [packet] = explainPackets(context([CLOSED, OPEN, DENY]), { pod: FRONT }, { pod: BACK }, TCP);
    assert.equal(packet?.ingress?.why, 'ClusterNetworkPolicy no-front denies it by ingress[0] "fronts stay away"');
    assert.equal(packet?.ingress?.rules, "not in force");
  });

  it("tells what audit mode would deny, and that rules differ where they do", () => {
    const audited = policyOf("audited", { podSelector: { matchLabels: { app: "back" } } }, true);
    const [packet] = explainPackets(context([audited], false), { pod: FRONT }, { pod: BACK }, TCP);
    assert.equal(packet?.allowed, true);
    assert.equal(
      packet?.ingress?.audit,
      "default deny: the pod is isolated by NetworkPolicy shop/audited, and no rule for ingress allows it",
    );
    assert.equal(packet?.ingress?.rules, "something else");
  });

  it("knows a node that reaches its own pods, and addresses of nobody", () => {
    const [probe] = explainPackets(context([CLOSED]), { ip: "172.30.0.2" }, { pod: BACK }, TCP);
    assert.deepEqual([probe?.source.who, probe?.allowed, probe?.ingress], ["node node2", true, undefined]);
    const [outside] = explainPackets(context([CLOSED]), { ip: "192.0.2.1" }, { pod: BACK }, TCP);
    assert.deepEqual([outside?.source.who, outside?.allowed], ["neither a pod nor a node that is known", false]);
    assert.deepEqual(explainPackets(context([]), { ip: "192.0.2.1" }, { pod: { ...BACK, ips: ["fd01::1"] } }, TCP), []);
  });

  it("tells which policies a pod has, in the order in which they are asked", () => {
    const { ingress, egress, ips } = explainPod(context([CLOSED, OPEN, DENY]), BACK);
    assert.deepEqual(
      ingress.map(({ policy, tier, priority, mode, rules }) => [policy, tier, priority, mode, rules]),
      [
        ["ClusterNetworkPolicy no-front", "Admin", 7, "enforce", 1],
        ["NetworkPolicy shop/closed", "NetworkPolicy", undefined, "enforce", 0],
        ["NetworkPolicy shop/front-to-back", "NetworkPolicy", undefined, "enforce", 1],
      ],
    );
    assert.deepEqual([egress, ips], [[], BACK.ips]);
  });
});

describe("a question about policies", () => {
  const read = (query: string) => readQuestion(new URLSearchParams(query));

  it("is about a pod, or about a packet between two ends", () => {
    assert.deepEqual(read("pod=shop/back"), { pod: { pod: "shop/back" } });
    assert.deepEqual(read("pod=fd00:0::1"), { pod: { ip: "fd00::1" } });
    assert.deepEqual(read("from=shop/front&to=10.0.0.1&port=80"), {
      from: { pod: "shop/front" },
      to: { ip: "10.0.0.1" },
      traffic: { protocol: "TCP", port: 80 },
    });
    assert.deepEqual(read("from=a/b&to=a/c&protocol=icmp"), {
      from: { pod: "a/b" },
      to: { pod: "a/c" },
      traffic: { protocol: "other", port: 0 },
    });
    assert.deepEqual(read("pod=shop/back&network=blue"), { pod: { pod: "shop/back" }, network: "blue" });
  });

  for (const [query, why] of [
    ["", /which pod/],
    ["from=a/b", /from whom to whom/],
    ["pod=a/b&network=../../etc", /"..\/..\/etc" is not the name of a pod network/],
    ["pod=a%20b", /neither NAMESPACE\/POD nor an address/],
    ["from=a/b&to=a/c", /which port/],
    ["from=a/b&to=a/c&port=0", /"0" is no port/],
    ["from=a/b&to=a/c&port=99999", /"99999" is no port/],
    ["from=a/b&to=a/c&port=1e3", /"1e3" is no port/],
    ["from=a/b&to=a/c&protocol=icmp&port=1", /has no ports/],
    ["from=a/b&to=a/c&protocol=toString&port=1", /"toString" is no protocol/],
  ] as const)
    it(`is refused as "${query}"`, () => {
      assert.throws(
        () => read(query),
        (error) => error instanceof QuestionError && why.test(error.message),
      );
    });
});
