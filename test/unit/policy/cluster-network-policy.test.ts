import assert from "node:assert/strict";
import { readClusterNetworkPolicy, readNetworkPolicy, verdictOf } from "../../../src/policy/index.ts";
import type { Pod, Policy, World } from "../../../src/policy/semantics/types.ts";
import { differences, modelOf, NODE } from "./support.ts";

const pod = (namespace: string, name: string, ip: string, node = NODE): Pod => ({
  namespace,
  name,
  labels: { app: name },
  ips: [ip],
  ports: [{ name: "dns", protocol: "UDP", port: 5353 }],
  node,
  hostNetwork: false,
  ended: false,
});

const base: Omit<World, "policies"> = {
  pods: [pod("shop", "web", "10.0.0.1"), pod("shop", "db", "10.0.0.2"), pod("bank", "web", "10.0.0.4", "there")],
  namespaces: [
    { name: "shop", labels: { team: "a" }, audit: false },
    { name: "bank", labels: { team: "b" }, audit: false },
  ],
  nodes: [
    { name: NODE, labels: { zone: "1" }, ips: ["172.30.0.1"] },
    { name: "there", labels: { zone: "2" }, ips: ["172.30.0.2"] },
  ],
};

const SHOP = { namespaces: { matchLabels: { team: "a" } } };
const ALL = { namespaces: {} };
const BANK = { namespaces: { matchLabels: { team: "b" } } };

function policy(spec: object, name = "p", tier = "Admin", priority = 10): Policy {
  const { policy, faults } = readClusterNetworkPolicy({
    metadata: { name },
    spec: { tier, priority, subject: SHOP, ...spec },
  });
  assert.deepEqual(faults, []);
  assert.ok(policy);
  return policy;
}

function network(spec: object): Policy {
  const { policy } = readNetworkPolicy({ metadata: { namespace: "shop", name: "np" }, spec });
  assert.ok(policy);
  return policy;
}

interface Asked {
  from?: string;
  to?: string;
  port?: number;
  protocol?: "TCP" | "UDP" | "SCTP" | "other";
}

/** Whether a packet passes and whose rule says so: "Accept p 0", "isolated", "open". By default from bank/web to shop/web. */
function asks(
  policies: readonly Policy[],
  direction: "ingress" | "egress",
  { from = "10.0.0.4", to = "10.0.0.1", port = 80, protocol = "TCP" }: Asked,
): string {
  const world: World = { ...base, policies };
  assert.deepEqual(differences(world, modelOf(world)), []);
  const verdict = verdictOf(world, { source: from, destination: to, port, protocol })[direction];
  assert.ok(verdict);
  return verdict.by === "rule"
    ? `${verdict.allowed ? "Accept" : "Deny"} ${verdict.policy?.name} ${verdict.rule}`
    : verdict.by;
}

const ingress = (policies: readonly Policy[], asked: Asked = {}): string => asks(policies, "ingress", asked);
const egress = (policies: readonly Policy[], asked: Asked = {}): string =>
  asks(policies, "egress", { from: "10.0.0.1", to: "10.0.0.4", ...asked });

describe("a ClusterNetworkPolicy", () => {
  const rule = (action: string, from: object = BANK, more: object = {}): object => ({
    ingress: [{ action, from: [from], ...more }],
  });

  it("is asked before NetworkPolicies as Admin and after them as Baseline", () => {
    const closed = network({});
    const open = network({ ingress: [{}] });
    assert.equal(ingress([policy(rule("Accept")), closed]), "Accept p 0");
    assert.equal(ingress([policy(rule("Deny")), open]), "Deny p 0");
    assert.equal(ingress([policy(rule("Deny"), "b", "Baseline"), open]), "Accept np 0");
    assert.equal(ingress([policy(rule("Accept"), "b", "Baseline"), closed]), "isolated");
    assert.equal(ingress([policy(rule("Deny"), "b", "Baseline")]), "Deny b 0");
  });

  it("passes on to the next tier, over the rest of its own", () => {
    const pass = policy(rule("Pass"), "pass", "Admin", 1);
    const deny = policy(rule("Deny"), "deny", "Admin", 2);
    assert.equal(ingress([pass, deny]), "open");
    assert.equal(ingress([pass, deny, network({})]), "isolated");
    assert.equal(ingress([pass, deny, policy(rule("Deny"), "base", "Baseline")]), "Deny base 0");
    assert.equal(
      ingress([policy(rule("Pass"), "pass", "Baseline", 1), policy(rule("Deny"), "base", "Baseline", 2)]),
      "open",
    );
  });

  it("is asked by priority, by name where that is equal, and its rules as they are written", () => {
    const accept = policy(rule("Accept"), "b", "Admin", 5);
    assert.equal(ingress([policy(rule("Deny"), "a", "Admin", 6), accept]), "Accept b 0");
    assert.equal(ingress([accept, policy(rule("Deny"), "a", "Admin", 5)]), "Deny a 0");
    const both = policy({
      ingress: [
        { action: "Accept", from: [SHOP] },
        { action: "Deny", from: [ALL] },
        { action: "Accept", from: [ALL] },
      ],
    });
    assert.equal(ingress([both]), "Deny p 1");
    assert.equal(ingress([both], { from: "10.0.0.2" }), "Accept p 0");
  });

  it("selects pods by namespace and labels, and says nothing about a direction without rules", () => {
    const web = { pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "web" } } } };
    const one = policy({ subject: web, ingress: [{ action: "Deny", from: [ALL] }] });
    assert.equal(ingress([one]), "Deny p 0");
    assert.equal(ingress([one], { to: "10.0.0.2" }), "open");
    assert.equal(egress([one]), "open");
    assert.equal(ingress([policy({ ingress: [] })]), "open");
  });

  it("knows pods, nodes and networks as destinations, pods' addresses in networks as well", () => {
    const to = (peer: object, action = "Deny"): Policy => policy({ egress: [{ action, to: [peer] }] });
    assert.equal(
      egress([to({ pods: { namespaceSelector: {}, podSelector: { matchLabels: { app: "web" } } } })]),
      "Deny p 0",
    );
    assert.equal(egress([to({ networks: ["10.0.0.0/8"] })]), "Deny p 0");
    assert.equal(egress([to({ networks: ["192.0.2.0/24", "2001:db8::/32"] })], { to: "192.0.2.9" }), "Deny p 0");
    assert.equal(
      egress([to({ networks: ["0.0.0.0/0"] })], { to: "192.0.2.9", protocol: "other", port: 0 }),
      "Deny p 0",
    );
    assert.equal(egress([to({ nodes: { matchLabels: { zone: "2" } } })], { to: "172.30.0.2" }), "Deny p 0");
    assert.equal(egress([to({ nodes: { matchLabels: { zone: "2" } } })]), "open");
  });

  it("may keep pods from their own node, from which no NetworkPolicy keeps them", () => {
    const own = { to: "172.30.0.1" };
    assert.equal(egress([network({ policyTypes: ["Egress"] })], own), "open");
    assert.equal(
      egress(
        [policy({ egress: [{ action: "Deny", to: [{ nodes: {} }] }] }), network({ policyTypes: ["Egress"] })],
        own,
      ),
      "Deny p 0",
    );
  });

  it("knows ports by number, range and name of any protocol, and protocols without ports only where it names none", () => {
    const deny = (protocols: unknown): Policy => policy({ ingress: [{ action: "Deny", from: [ALL], protocols }] });
    assert.equal(ingress([deny([{ tcp: { destinationPort: { number: 80 } } }])]), "Deny p 0");
    assert.equal(ingress([deny([{ tcp: { destinationPort: { range: { start: 70, end: 90 } } } }])]), "Deny p 0");
    assert.equal(ingress([deny([{ udp: {} }])]), "open");
    assert.equal(ingress([deny([{ sctp: {} }])], { protocol: "SCTP" }), "Deny p 0");
    assert.equal(ingress([deny([{ destinationNamedPort: "dns" }])], { protocol: "UDP", port: 5353 }), "Deny p 0");
    assert.equal(ingress([deny([{ destinationNamedPort: "dns" }])], { protocol: "TCP", port: 5353 }), "open");
    assert.equal(ingress([deny(undefined)], { protocol: "other", port: 0 }), "Deny p 0");
    assert.equal(ingress([deny([{ tcp: {} }])], { protocol: "other", port: 0 }), "open");
  });

  it("counts and enforces nothing in audit mode", () => {
    const { policy: audited } = readClusterNetworkPolicy({
      metadata: { name: "p", annotations: { "skylane.dev/policy-mode": "audit" } },
      spec: { tier: "Admin", priority: 1, subject: SHOP, ...rule("Deny") },
    });
    assert.ok(audited);
    const world: World = { ...base, policies: [audited] };
    assert.deepEqual(differences(world, modelOf(world)), []);
    const { allowed, ingress } = verdictOf(world, {
      source: "10.0.0.4",
      destination: "10.0.0.1",
      protocol: "TCP",
      port: 80,
    });
    assert.equal(allowed, true);
    assert.equal(ingress?.audit?.policy?.name, "p");
  });
});

describe("reading a ClusterNetworkPolicy", () => {
  const spec = { tier: "Admin", priority: 1, subject: ALL };
  const read = (more: object): ReturnType<typeof readClusterNetworkPolicy> =>
    readClusterNetworkPolicy({ metadata: { name: "p" }, spec: { ...spec, ...more } });

  for (const [what, more, fault] of [
    ["no tier", { tier: undefined }, /spec\.tier is nothing/],
    ["a tier that is none", { tier: "Root" }, /must be Admin, Baseline/],
    ["a priority out of range", { priority: 1_001 }, /from 0 to 1000/],
    ["no subject", { subject: null }, /spec\.subject is null/],
    ["an empty subject", { subject: {} }, /exactly one of namespaces, pods/],
    ["a subject of two kinds", { subject: { namespaces: {}, pods: {} } }, /exactly one of/],
  ] as const)
    it(`refuses one with ${what}`, () => {
      const { policy, faults } = read(more);
      assert.equal(policy, undefined);
      assert.match(faults.join(), fault);
    });

  for (const [what, peer, protocols] of [
    ["a peer that is not known", { services: {} }, undefined],
    ["a peer without a field", {}, undefined],
    ["a domain name that is none", { domainNames: ["exa mple.org"] }, undefined],
    ["a wildcard that is no prefix", { domainNames: ["www.*.org"] }, undefined],
    ["no domain names in a list", { domainNames: [] }, undefined],
    ["a network that is none", { networks: ["10.0.0.1/8"] }, undefined],
    ["a protocol that is not known", ALL, [{ quic: {} }]],
    ["a condition that is not known", ALL, [{ tcp: { flags: "syn" } }]],
    ["a port of two kinds", ALL, [{ tcp: { destinationPort: { number: 1, range: { start: 1, end: 2 } } } }]],
    ["no protocols in a list", ALL, []],
  ] as const)
    it(`fails closed for ${what}: Accept matches nothing, Deny and Pass deny everything`, () => {
      for (const [action, peers, acts] of [
        ["Accept", [], "Accept"],
        ["Deny", undefined, "Deny"],
        ["Pass", undefined, "Deny"],
      ] as const) {
        const { policy, faults } = read({
          egress: [
            { action, to: [peer], ...(protocols && { protocols }) },
            { action: "Accept", to: [ALL] },
          ],
        });
        assert.equal(faults.length, 1);
        assert.deepEqual(policy?.egress?.[0], { action: acts, peers, ports: peers });
        assert.equal(policy?.egress?.[1]?.action, "Accept");
      }
    });

  it("reads domain names, in small letters and without a dot at the end, of rules that accept alone", () => {
    const names = ["Example.ORG.", "*.example.org", "a_b.example.org"];
    const { policy, faults } = read({ egress: [{ action: "Accept", to: [{ domainNames: names }] }] });
    assert.deepEqual(faults, []);
    const [peer] = policy?.egress?.[0]?.peers ?? [];
    assert.deepEqual(peer, { kind: "names", names: ["example.org", "*.example.org", "a_b.example.org"] });
    for (const action of ["Deny", "Pass"]) {
      const { policy, faults } = read({ egress: [{ action, to: [{ domainNames: names }] }] });
      assert.match(faults[0] ?? "", /is for rules that Accept alone/);
      assert.deepEqual(policy?.egress, [{ action: "Deny", peers: undefined, ports: undefined }]);
    }
  });

  it("denies everything by a rule whose action cannot be read", () => {
    const { policy } = read({ ingress: [{ action: "Log", from: [ALL] }] });
    assert.deepEqual(policy?.ingress, [{ action: "Deny", peers: undefined, ports: undefined }]);
  });

  it("knows no nodes and networks as sources", () => {
    for (const peer of [{ nodes: {} }, { networks: ["0.0.0.0/0"] }, { domainNames: ["example.org"] }])
      assert.equal(read({ ingress: [{ action: "Accept", from: [peer] }] }).faults.length, 1);
  });
});
