import assert from "node:assert/strict";
import { type PolicyModel, readNetworkPolicy, renderChange, renderTable } from "../../../src/policy/index.ts";
import type { Pod, Policy } from "../../../src/policy/semantics/types.ts";
import { follower, modelOf, NODE } from "./support.ts";

const pod = (namespace: string, name: string, ip: string, node = "there"): Pod => ({
  namespace,
  name,
  labels: { app: name },
  ips: [ip],
  ports: [],
  node,
  hostNetwork: false,
  ended: false,
});

const VICTIM = pod("shop", "victim", "10.0.0.1", NODE);
const HOSTILE = pod("evil", "hostile", "10.0.0.2", NODE);
const others = (count: number): Pod[] => Array.from({ length: count }, (_, i) => pod("evil", `o-${i}`, `10.0.1.${i}`));
const PEERS = 60;

function policy(namespace: string, ingress: unknown, name = "p"): Policy {
  const { policy, faults } = readNetworkPolicy({ metadata: { namespace, name }, spec: { podSelector: {}, ingress } });
  assert.deepEqual(faults, []);
  assert.ok(policy);
  return policy;
}

/** A thousand ranges for everybody, and of each of some pods everything else as well: for each of their classes a thousand elements. */
const WIDE = policy("evil", [
  { ports: Array.from({ length: 1_000 }, (_, i) => ({ port: 1 + 2 * i })) },
  ...Array.from({ length: PEERS }, (_, i) => ({
    from: [{ podSelector: { matchLabels: { app: `o-${i}` } } }],
  })),
]);
const DECENT = policy("shop", [{ from: [{ ipBlock: { cidr: "192.0.2.0/24" } }], ports: [{ port: 80 }] }]);

const model = (pods: readonly Pod[], ...policies: Policy[]): PolicyModel =>
  modelOf({
    pods: [VICTIM, HOSTILE, ...pods],
    namespaces: ["shop", "evil"].map((name) => ({ name, labels: {}, audit: false })),
    nodes: [],
    policies,
  });

const reaches = (one: PolicyModel, source: string, destination: string, port: number): boolean =>
  one.passes({ source, destination, protocol: "TCP", port });

/** The policy of somebody else is in force as if nobody were hostile. */
function decent(one: PolicyModel): void {
  assert.deepEqual(
    [
      reaches(one, "192.0.2.1", "10.0.0.1", 80),
      reaches(one, "192.0.2.1", "10.0.0.1", 81),
      reaches(one, "10.0.1.1", "10.0.0.1", 80),
    ],
    [true, false, false],
  );
}

const overloaded = (one: PolicyModel): string[] => one.overloaded().flatMap(({ addresses }) => [...addresses]);

describe("policies that are too much", () => {
  it("close the pods that they are about, and no others", () => {
    const one = model(others(PEERS), WIDE, DECENT);
    assert.deepEqual(overloaded(one), ["10.0.0.2"]);
    assert.ok(one.overloaded()[0]?.policies.includes(WIDE));
    assert.equal(reaches(one, "10.0.1.1", "10.0.0.2", 1), false);
    decent(one);
    assert.match(renderTable(one.ruleset), /chain ingress_\d+_closed/);
  });

  it("are not kept for pods that are to come", () => {
    const namespaces = ["shop", "evil"].map((name) => ({ name, labels: {}, audit: false }));
    const one = modelOf({ pods: others(PEERS / 2), namespaces, nodes: [], policies: [WIDE] }, 8);
    const ports = (): number => [...one.ruleset.maps.keys()].filter((name) => name.endsWith("_port")).length;
    one.change({ pods: { set: [{ ...HOSTILE, ips: [] }] } });
    assert.equal(ports(), 1);
    one.change({ pods: { set: [VICTIM] } });
    assert.equal(ports(), 0);
  });

  it("do so when they become it, and are in force when they are it no more", () => {
    const one = model(others(PEERS / 2), WIDE, DECENT);
    const follow = follower(one);
    assert.deepEqual(overloaded(one), []);
    assert.equal(reaches(one, "10.0.1.1", "10.0.0.2", 1), true);
    const { rules, revocations } = one.change({ pods: { set: others(PEERS) } });
    follow(rules);
    assert.deepEqual(revocations, [{ ip: "10.0.0.2", peer: undefined }]);
    assert.equal(reaches(one, "10.0.1.1", "10.0.0.2", 1), false);
    decent(one);
    follow(one.change({ pods: { gone: others(PEERS).slice(1) } }).rules);
    follow(one.change({ policies: { set: [policy("evil", [{ ports: [{ port: 1 }] }])] } }).rules);
    assert.deepEqual(overloaded(one), []);
    assert.equal(reaches(one, "10.0.1.0", "10.0.0.2", 1), true);
    follow(one.change({ policies: { gone: [DECENT, WIDE] } }).rules);
    assert.ok(one.idle);
  });

  it("are it with blocks that overlap a thousand times", () => {
    const overlapping = policy(
      "evil",
      Array.from({ length: 1_001 }, (_, i) => ({
        from: [{ ipBlock: { cidr: "20.0.0.0/8", except: [`20.${i >> 8}.${i & 255}.0/24`] } }],
        ports: [{ port: 1 + i }],
      })),
    );
    const one = model([], overlapping, DECENT);
    assert.deepEqual(overloaded(one), ["10.0.0.2"]);
    decent(one);
  });

  it("are it neither with ten thousand rules nor with a hundred thousand blocks", () => {
    const rules = policy(
      "evil",
      Array.from({ length: 10_000 }, (_, i) => ({ ports: [{ port: 1 + i * 6, endPort: 3 + i * 6 }] })),
    );
    const blocks = Array.from({ length: 5 }, (_, k) =>
      policy(
        "evil",
        [
          {
            from: Array.from({ length: 20_000 }, (_, i) => ({
              ipBlock: { cidr: `${20 + k}.${i >> 8}.${i & 255}.128/25` },
            })),
            ports: [{ port: 60_005 }],
          },
        ],
        `b-${k}`,
      ),
    );
    const one = model(others(PEERS), rules, DECENT, ...blocks);
    assert.deepEqual(overloaded(one), []);
    assert.deepEqual(
      [1, 3, 4, 6, 7].map((port) => reaches(one, "10.0.1.1", "10.0.0.2", port)),
      [true, true, false, false, true],
    );
    assert.deepEqual(
      ["24.1.2.200", "24.1.2.100"].map((ip) => reaches(one, ip, "10.0.0.2", 60_005)),
      [true, false],
    );
    decent(one);
  });

  it("have names in any characters, of which the packet filter sees none", () => {
    const name = 'p";\n}} delete table inet skylane # \u202e\u0000é😀';
    const odd = { ...policy("evil", [{ from: [{ podSelector: {} }] }]), name };
    const one = model(others(PEERS), odd, DECENT);
    const text = renderTable(one.ruleset);
    assert.doesNotMatch(text, /[^\n\x20-\x7e]/);
    const comments = text.split("\n").filter((line) => line.includes("evil/p"));
    assert.ok(comments.length > 0);
    for (const line of comments) assert.match(line, /^ +counter( drop)? comment "[\w ,./[\]:?-]+"$/);
    assert.equal(reaches(one, "10.0.1.1", "10.0.0.2", 1), true);
    decent(one);
  });

  it("are put in place whole where more changes than is worth being told of", () => {
    const one = model([], policy("shop", [{ from: [{ namespaceSelector: {} }] }]));
    const many = Array.from({ length: 50_010 }, (_, i) =>
      pod("evil", "x", `11.${i >> 16}.${(i >> 8) & 255}.${i & 255}`),
    ).map((one, i) => ({ ...one, name: `x-${i}` }));
    const { rules, revocations } = one.change({ pods: { set: many } });
    assert.ok(rules.whole);
    assert.equal(renderChange(one.ruleset, rules), renderTable(one.ruleset));
    assert.deepEqual(revocations, [{ ip: "10.0.0.1", peer: undefined }]);
    assert.equal(reaches(one, "11.0.0.1", "10.0.0.1", 1), true);
  });
});
