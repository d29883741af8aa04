import assert from "node:assert/strict";
import { readNetworkPolicy } from "../../../src/policy/index.ts";
import { directed, type Packet } from "../../../src/policy/semantics/oracle.ts";
import type { Pod, World } from "../../../src/policy/semantics/types.ts";
import { modelOf, differences, NODE } from "./support.ts";

const pod = (namespace: string, name: string, ip: string, more: Partial<Pod> = {}): Pod => ({
  namespace,
  name,
  labels: { app: name },
  ips: [ip],
  ports: [],
  node: NODE,
  hostNetwork: false,
  ended: false,
  ...more,
});

const web = pod("shop", "web", "10.0.0.1", { ports: [{ name: "http", protocol: "TCP", port: 8080 }] });
const base: Omit<World, "policies"> = {
  pods: [
    web,
    pod("shop", "db", "10.0.0.2", { ports: [{ name: "http", protocol: "TCP", port: 9090 }] }),
    pod("shop", "old", "10.0.0.3", { ended: true }),
    pod("shop", "agent", "172.30.0.1", { hostNetwork: true }),
    pod("bank", "web", "10.0.0.4", { node: "there" }),
    pod("bank", "db", "10.0.0.5", { node: "there" }),
  ],
  namespaces: [
    { name: "shop", labels: { team: "a" }, audit: false },
    { name: "bank", labels: { team: "b" }, audit: false },
  ],
  nodes: [
    { name: NODE, labels: {}, ips: ["172.30.0.1"] },
    { name: "there", labels: {}, ips: ["172.30.0.2"] },
  ],
};

const read = (spec: unknown, metadata: object = {}): ReturnType<typeof readNetworkPolicy> =>
  readNetworkPolicy({ metadata: { namespace: "shop", name: "p", ...metadata }, spec });

/** Which of some packets reach or leave the pod shop/web under policies; compiled rules are held against the oracle on the way. */
function passing(
  specs: readonly unknown[],
  direction: "ingress" | "egress",
  packets: readonly Partial<Packet>[],
): boolean[] {
  const policies = specs.map((spec, i) => {
    const { policy, faults } = read(spec, { name: `p-${i}` });
    assert.deepEqual(faults, []);
    assert.ok(policy);
    return policy;
  });
  const world: World = { ...base, policies };
  assert.deepEqual(differences(world, modelOf(world)), []);
  return packets.map((packet) => {
    const ends =
      direction === "ingress"
        ? { source: "10.0.0.2", destination: "10.0.0.1" }
        : { source: "10.0.0.1", destination: "10.0.0.2" };
    return directed(world, direction, web, { ...ends, protocol: "TCP", port: 80, ...packet }, false).allowed;
  });
}

const from = (...ips: string[]): Partial<Packet>[] => ips.map((source) => ({ source }));
const to = (...ips: string[]): Partial<Packet>[] => ips.map((destination) => ({ destination }));
const EVERYBODY = ["10.0.0.2", "10.0.0.4", "10.0.0.5", "192.0.2.1"] as const;
const [YES, NO] = [true, false];
const WEB = { podSelector: { matchLabels: { app: "web" } } };

describe("a NetworkPolicy", () => {
  it("isolates nobody whom it does not select, and in no direction that it is not about", () => {
    assert.deepEqual(passing([], "ingress", from(...EVERYBODY)), [YES, YES, YES, YES]);
    assert.deepEqual(passing([{ podSelector: { matchLabels: { app: "db" } } }], "ingress", from(...EVERYBODY)), [
      YES,
      YES,
      YES,
      YES,
    ]);
    assert.deepEqual(passing([{ ...WEB, policyTypes: ["Ingress"] }], "egress", to(...EVERYBODY)), [YES, YES, YES, YES]);
  });

  for (const [what, rules] of [
    ["absent", {}],
    ["null", { ingress: null }],
    ["empty", { ingress: [] }],
  ] as const)
    it(`allows nothing where its list of rules is ${what}`, () => {
      assert.deepEqual(passing([{ ...WEB, ...rules }], "ingress", from(...EVERYBODY)), [NO, NO, NO, NO]);
    });

  for (const [what, rule] of [
    ["has neither peers nor ports", {}],
    ["has empty lists of both", { from: [], ports: [] }],
    ["has null for both", { from: null, ports: null }],
  ] as const)
    it(`allows everything by a rule that ${what}`, () => {
      assert.deepEqual(
        passing([{ ...WEB, ingress: [rule] }], "ingress", [...from(...EVERYBODY), { protocol: "other" }]),
        [YES, YES, YES, YES, YES],
      );
    });

  it("selects all pods of its namespace by an empty or absent selector", () => {
    for (const spec of [
      { podSelector: {} },
      { podSelector: null },
      {},
      { podSelector: { matchLabels: {}, matchExpressions: [] } },
    ])
      assert.deepEqual(passing([spec], "ingress", from("10.0.0.2")), [NO]);
  });

  it("is about ingress by default, and about egress where it has rules for it", () => {
    assert.deepEqual(passing([WEB], "egress", to("10.0.0.2")), [YES]);
    assert.deepEqual(passing([{ ...WEB, egress: [] }], "egress", to("10.0.0.2")), [YES]);
    assert.deepEqual(passing([{ ...WEB, egress: [{ ports: [{ port: 1 }] }] }], "egress", to("10.0.0.2")), [NO]);
    assert.deepEqual(
      passing([{ ...WEB, policyTypes: [], egress: [{ ports: [{ port: 1 }] }] }], "ingress", from("10.0.0.2")),
      [NO],
    );
    assert.deepEqual(passing([{ ...WEB, policyTypes: ["Egress"], ingress: [] }], "ingress", from("10.0.0.2")), [YES]);
    assert.deepEqual(passing([{ ...WEB, policyTypes: ["Egress"] }], "egress", to("10.0.0.2")), [NO]);
  });

  it("tells pods of its namespace, of selected namespaces, and some pods of those", () => {
    const peers = (peer: unknown): boolean[] =>
      passing([{ ...WEB, ingress: [{ from: [peer] }] }], "ingress", from(...EVERYBODY));
    const db = { matchLabels: { app: "db" } };
    assert.deepEqual(peers({ podSelector: db }), [YES, NO, NO, NO]);
    assert.deepEqual(peers({ podSelector: {} }), [YES, NO, NO, NO]);
    assert.deepEqual(peers({ namespaceSelector: { matchLabels: { team: "b" } } }), [NO, YES, YES, NO]);
    assert.deepEqual(peers({ namespaceSelector: {} }), [YES, YES, YES, NO]);
    assert.deepEqual(peers({ namespaceSelector: { matchLabels: { team: "b" } }, podSelector: db }), [NO, NO, YES, NO]);
    assert.deepEqual(peers({ namespaceSelector: {}, podSelector: db }), [YES, NO, YES, NO]);
    assert.deepEqual(
      peers({ namespaceSelector: { matchExpressions: [{ key: "team", operator: "NotIn", values: ["b"] }] } }),
      [YES, NO, NO, NO],
    );
    assert.deepEqual(
      peers({ namespaceSelector: { matchExpressions: [{ key: "none", operator: "NotIn", values: ["b"] }] } }),
      [YES, YES, YES, NO],
    );
    assert.deepEqual(peers({ podSelector: { matchExpressions: [{ key: "app", operator: "Exists" }] } }), [
      YES,
      NO,
      NO,
      NO,
    ]);
    assert.deepEqual(peers({ podSelector: { matchExpressions: [{ key: "app", operator: "DoesNotExist" }] } }), [
      NO,
      NO,
      NO,
      NO,
    ]);
  });

  it("adds what it allows to what others allow", () => {
    const specs = [
      { ...WEB, ingress: [{ from: [{ podSelector: {} }] }] },
      { ...WEB, ingress: [{ from: [{ ipBlock: { cidr: "192.0.2.0/24" } }] }] },
      WEB,
    ];
    assert.deepEqual(passing(specs, "ingress", from(...EVERYBODY)), [YES, NO, NO, YES]);
  });

  it("allows blocks without their exceptions, pods' addresses in them as well", () => {
    const block = (ipBlock: object): boolean[] =>
      passing([{ ...WEB, ingress: [{ from: [{ ipBlock }] }] }], "ingress", from(...EVERYBODY));
    assert.deepEqual(block({ cidr: "0.0.0.0/0" }), [YES, YES, YES, YES]);
    assert.deepEqual(block({ cidr: "0.0.0.0/0", except: ["10.0.0.0/8"] }), [NO, NO, NO, YES]);
    assert.deepEqual(block({ cidr: "10.0.0.0/24", except: ["10.0.0.4/31"] }), [YES, NO, NO, NO]);
    assert.deepEqual(block({ cidr: "0.0.0.0/0", except: ["10.0.0.2/32", "192.0.2.0/24", "192.0.2.1/32"] }), [
      NO,
      YES,
      YES,
      NO,
    ]);
    assert.deepEqual(block({ cidr: "::/0" }), [NO, NO, NO, NO]);
  });

  it("knows ports by protocol, TCP by default, ranges, and all ports of a protocol", () => {
    const tcp = (...ports: number[]): Partial<Packet>[] => ports.map((port) => ({ port }));
    const ports = (ports: unknown, packets: Partial<Packet>[]): boolean[] =>
      passing([{ ...WEB, ingress: [{ ports }] }], "ingress", packets);
    const others: Partial<Packet>[] = [{ protocol: "UDP" }, { protocol: "SCTP" }, { protocol: "other", port: 0 }];
    assert.deepEqual(ports([{ port: 80 }], [...tcp(79, 80, 81), ...others]), [NO, YES, NO, NO, NO, NO]);
    assert.deepEqual(ports([{ port: 80, endPort: 81 }], tcp(79, 80, 81, 82)), [NO, YES, YES, NO]);
    assert.deepEqual(ports([{}], [...tcp(1, 65_535), ...others]), [YES, YES, NO, NO, NO]);
    assert.deepEqual(ports([{ protocol: "UDP" }, { protocol: "SCTP", port: 80 }], [...tcp(80), ...others]), [
      NO,
      YES,
      YES,
      NO,
    ]);
  });

  it("knows a port's name by the pod at which traffic arrives", () => {
    const at = (...ports: number[]): Partial<Packet>[] => ports.map((port) => ({ port }));
    const named = { ports: [{ port: "http" }] };
    assert.deepEqual(passing([{ ...WEB, ingress: [named] }], "ingress", at(8080, 9090, 80)), [YES, NO, NO]);
    assert.deepEqual(passing([{ ...WEB, egress: [named] }], "egress", at(8080, 9090, 80)), [NO, YES, NO]);
    assert.deepEqual(
      passing([{ ...WEB, egress: [{ ports: [{ port: "http", protocol: "UDP" }] }] }], "egress", at(9090)),
      [NO],
    );
    assert.deepEqual(passing([{ ...WEB, egress: [named] }], "egress", [{ destination: "192.0.2.1", port: 9090 }]), [
      NO,
    ]);
  });

  it("does not know pods of the host's network and ended ones, whoever has their addresses", () => {
    const all = { from: [{ namespaceSelector: {} }] };
    assert.deepEqual(passing([{ ...WEB, ingress: [all] }], "ingress", from("10.0.0.3", "172.30.0.2")), [NO, NO]);
  });
});

describe("reading a NetworkPolicy", () => {
  it("refuses what is no object with a namespace and a name", () => {
    for (const object of [
      null,
      1,
      [],
      {},
      { metadata: {} },
      { metadata: { name: "x" } },
      { metadata: { namespace: "a", name: "../x" } },
    ]) {
      const { policy, faults } = readNetworkPolicy(object);
      assert.equal(policy, undefined);
      assert.equal(faults.length, 1);
    }
  });

  const broken: [string, unknown, RegExp][] = [
    ["a peer of nothing", { from: [{}] }, /spec\.ingress\[0\]\.from\[0\].*must be a podSelector/],
    ["a peer of both kinds", { from: [{ ipBlock: { cidr: "10.0.0.0/8" }, podSelector: {} }] }, /beside ipBlock/],
    ["a block that is none", { from: [{ ipBlock: { cidr: "10.0.0.1/8" } }] }, /ipBlock\.cidr.*host bits/],
    ["a block with control characters", { from: [{ ipBlock: { cidr: "\u001b[31m" } }] }, /\\u001b/],
    [
      "an exception outside",
      { from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["11.0.0.0/8"] } }] },
      /must be a part of 10\.0\.0\.0\/8/,
    ],
    [
      "an exception of the other family",
      { from: [{ ipBlock: { cidr: "10.0.0.0/8", except: ["::/0"] } }] },
      /must be a part of/,
    ],
    [
      "an operator of a later version",
      { from: [{ podSelector: { matchExpressions: [{ key: "a", operator: "Gt", values: ["1"] }] } }] },
      /operator is "Gt"/,
    ],
    ["a selector of a later version", { from: [{ podSelector: { matchFields: {} } }] }, /matchFields is not known/],
    [
      "In without values",
      { from: [{ podSelector: { matchExpressions: [{ key: "a", operator: "In" }] } }] },
      /not empty for In/,
    ],
    ["a port out of range", { ports: [{ port: 65_536 }] }, /ports\[0\]\.port is 65536/],
    ["a port of zero", { ports: [{ port: 0 }] }, /from 1 to 65535/],
    [
      "an end before its beginning",
      { ports: [{ port: 80, endPort: 79 }] },
      /endPort is 79; it must be a whole number from 80/,
    ],
    ["an end of a name", { ports: [{ port: "http", endPort: 80 }] }, /the port is a name/],
    ["an end alone", { ports: [{ endPort: 80 }] }, /without a port/],
    ["a protocol that is none", { ports: [{ protocol: "ICMP" }] }, /protocol is "ICMP"/],
    ["peers that are no list", { from: { podSelector: {} } }, /from is .*must be a list/],
    [
      "more peers than anybody writes",
      { from: Array.from({ length: 20_001 }, () => ({ podSelector: {} })) },
      /20001 entries/,
    ],
  ];
  for (const [what, rule, fault] of broken)
    it(`has a fault for ${what}, which allows nothing and leaves other rules alone`, () => {
      const { policy, faults } = read({ ingress: [rule, { ports: [{ port: 443 }] }] });
      assert.match(faults.join(), fault);
      assert.ok(policy);
      const world: World = { ...base, policies: [policy] };
      const allowed = (port: number): boolean =>
        directed(world, "ingress", web, { source: "10.0.0.2", destination: "10.0.0.1", protocol: "TCP", port }, false)
          .allowed;
      assert.deepEqual([allowed(80), allowed(443)], [false, true]);
      assert.deepEqual(differences(world, modelOf(world)), []);
    });

  it("keeps the peers and ports of a rule that have no fault", () => {
    const { policy, faults } = read({
      ingress: [{ from: [{}, { podSelector: {} }], ports: [{ port: -1 }, { port: 80 }] }],
    });
    assert.equal(faults.length, 2);
    assert.equal(policy?.ingress?.[0]?.peers?.length, 1);
    assert.deepEqual(policy?.ingress?.[0]?.ports, [{ protocol: "TCP", first: 80, last: 80 }]);
  });

  it("isolates the namespace where it cannot be read whom it selects, and in both directions where not which", () => {
    const { policy, faults } = read({ podSelector: { matchLabels: { app: 1 } }, policyTypes: ["Sideways"] });
    assert.equal(faults.length, 2);
    assert.deepEqual([policy?.subject.pods.requirements, policy?.ingress, policy?.egress], [[], [], []]);
  });

  it("tells ten faults and the number of the others", () => {
    const { faults } = read({ ingress: [{ ports: Array.from({ length: 1_000 }, () => ({ port: -1 })) }] });
    assert.equal(faults.length, 11);
    assert.equal(faults.at(-1), "and 990 more");
  });

  it("knows audit mode by its one word", () => {
    const mode = (annotations: unknown): boolean | undefined => read({}, { annotations }).policy?.audit;
    assert.equal(mode({ "skylane.dev/policy-mode": "audit" }), true);
    for (const other of [
      undefined,
      null,
      {},
      { "skylane.dev/policy-mode": "Audit" },
      { "skylane.dev/policy-mode": 1 },
      "audit",
    ])
      assert.equal(mode(other), false);
  });
});
