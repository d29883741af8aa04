import assert from "node:assert/strict";
import { ALL_FEATURES, type NetworkRules, renderRuleset } from "../../../src/dataplane/nft/index.ts";

const rules: NetworkRules = {
  network: "default",
  vni: 4096,
  port: 4789,
  peers: ["172.30.0.12", "172.30.0.11", "fd30::11", "172.30.0.12"],
  podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
  clusterCidrs: ["10.244.0.0/16", "fd00:10:244::/48"],
  masquerade: { enabled: true, exclude: ["192.168.0.0/16"] },
};
const has = (text: string, line: string): void =>
  assert.ok(
    text.split("\n").some((l) => l.trim() === line),
    `${line}\n${text}`,
  );

/** The lines of a chain; the first of a base chain says where it stands. */
const chainOf = (text: string, name: string): string[] =>
  (text.split(`  chain ${name} {\n`)[1] ?? "")
    .split("\n  }")[0]
    ?.split("\n")
    .map((line) => line.trim()) ?? [];

describe("the ruleset", () => {
  it("is one transaction that replaces whatever table is there", () => {
    const lines = renderRuleset([rules]).split("\n");
    assert.deepEqual(lines.slice(0, 3), [
      "add table inet skylane",
      "delete table inet skylane",
      "table inet skylane {",
    ]);
  });

  it("has each set sorted, without doubles and without prefixes inside others, the same for the same input", () => {
    const text = renderRuleset([rules]);
    has(text, "elements = { 172.30.0.11, 172.30.0.12 }");
    has(text, "elements = { fd30::11 }");
    has(text, "elements = { 10.244.0.0/16, 192.168.0.0/16, 224.0.0.0/4, 255.255.255.255/32 }");
    const other = {
      ...rules,
      peers: [...rules.peers].toReversed(),
      clusterCidrs: [...rules.clusterCidrs].toReversed(),
    };
    assert.equal(renderRuleset([other]), text);
  });

  it("drops VXLAN of its own VNI only, from anybody but the peers", () => {
    const text = renderRuleset([{ ...rules, port: 8472 }]);
    has(text, "udp dport 8472 @th,96,24 vmap { 4096 : goto vxlan_4096 }");
    assert.deepEqual(chainOf(text, "vxlan_4096"), [
      "ip saddr @peers4_4096 accept",
      "ip6 saddr @peers6_4096 accept",
      'counter drop comment "VXLAN from no known peer"',
    ]);
  });

  it("counts a node among the new neighbours of no pod: one that gathers metrics speaks to all of them at once", () => {
    const rule = (text: string): string[] =>
      chainOf(text, "next_hop").filter((line) => line.startsWith("meta nfproto"));
    const known = (vni: number): string[] => [
      `meta nfproto ipv4 rt ip nexthop @peers4_${vni} accept`,
      `meta nfproto ipv6 rt ip6 nexthop @peers6_${vni} accept`,
    ];
    const limit = chainOf(renderRuleset([rules]), "next_hop").findIndex((line) => line.startsWith("update @reaching"));
    for (const line of known(4096)) {
      const at = chainOf(renderRuleset([rules]), "next_hop").indexOf(line);
      assert.ok(at >= 0 && at < limit, `${line} stands before the limit`);
    }
    // a network without pods here has no part in it
    const remote = { ...rules, vni: 4097, podCidrs: [], masquerade: { enabled: false, exclude: [] } };
    assert.deepEqual(rule(renderRuleset([rules, remote])), rule(renderRuleset([rules])));
  });

  it("lets nobody outside send from the addresses of pods here, over whatever network's device", () => {
    const drop = 'counter drop comment "a pod of this node, from outside"';
    const blue = { ...rules, network: "blue", vni: 77, podCidrs: ["10.8.0.0/24", "10.9.0.0/24"] };
    const text = renderRuleset([rules, blue]);
    assert.deepEqual(chainOf(text, "from_outside"), [
      `ip saddr 10.244.1.0/24 ${drop}`,
      `ip6 saddr fd00:10:244:1::/64 ${drop}`,
      `ip saddr @pods4_77 ${drop}`,
    ]);
  });

  it("takes single addresses of pods here from the overlay where host routes say so, and asks that of nothing else", () => {
    const drop = 'counter drop comment "a pod of this node, from outside"';
    const text = renderRuleset([{ ...rules, podCidrs: ["10.244.1.0/24"], hostRoutes: true }]);
    assert.deepEqual(chainOf(text, "from_outside"), [
      "iifgroup 0x534c ip saddr 10.244.1.0/24 fib saddr . iif oif exists accept",
      `ip saddr 10.244.1.0/24 ${drop}`,
    ]);
    assert.doesNotMatch(renderRuleset([{ ...rules, hostRoutes: true }], { ...ALL_FEATURES, fib: false }), /fib/);
  });

  const peerPorts = [
    { ip: "172.30.0.12", port: 8472 },
    { ip: "172.30.0.12", port: 8472 },
    { ip: "fd30::13", port: 9000 },
  ];

  it("lets go at once of what goes to a pod or into the overlay, and of nothing else", () => {
    const [, ...lines] = chainOf(renderRuleset([{ ...rules, peerPorts }]), "forward");
    assert.deepEqual(lines, [
      "oifgroup 0x534b accept",
      "oifgroup 0x534c accept",
      'iifgroup 0x534b udp dport { 4789 } counter drop comment "VXLAN from a pod"',
      'iifgroup 0x534b ip daddr . udp dport @peer_ports4 counter drop comment "VXLAN from a pod"',
      'iifgroup 0x534b ip6 daddr . udp dport @peer_ports6 counter drop comment "VXLAN from a pod"',
      'ip daddr @pods4_4096 rt ip nexthop != @pods4_4096 counter drop comment "no pod has this address"',
      'ip6 daddr @pods6_4096 rt ip6 nexthop != @pods6_4096 counter drop comment "no pod has this address"',
      "iifgroup 0x534b goto next_hop",
    ]);
  });

  it("keeps pods from the VXLAN ports of their node before it asks who is a peer", () => {
    const text = renderRuleset([{ ...rules, peerPorts }]);
    assert.equal(
      chainOf(text, "to_node_from_pod").at(-1),
      'udp dport { 4789 } counter drop comment "VXLAN from a pod"',
    );
    assert.deepEqual(chainOf(text, "input").slice(1), [
      "iifgroup 0x534b goto to_node_from_pod",
      "iifgroup 0x534c goto to_node_from_overlay",
      "udp dport 4789 @th,96,24 vmap { 4096 : goto vxlan_4096 }",
    ]);
  });

  it("lets no broadcast or multicast of pods and nodes to this node's own programs, but what pods need of ND", () => {
    for (const [from, first] of [
      ["pod", 1],
      ["overlay", 0],
    ] as const) {
      const rules4 = chainOf(renderRuleset([rules]), `to_node_from_${from}`);
      assert.match(rules4[first] ?? "", /^meta pkttype != host counter drop/);
      assert.match(rules4[first + 1] ?? "", /^fib daddr type != local counter drop/);
    }
  });

  it("bounds what pods ask for and answer, and hears no ARP or ND over the overlay", () => {
    const text = renderRuleset([rules]);
    assert.match(chainOf(text, "of_pod")[0] ?? "", /limit rate over/);
    assert.match(chainOf(text, "icmp_of_pod")[0] ?? "", /limit rate over/);
    assert.match(chainOf(text, "from_overlay")[0] ?? "", /^icmpv6 type .* drop/);
    assert.doesNotMatch(renderRuleset([rules], { ...ALL_FEATURES, arp: false }), /table arp/);
  });

  it("says of a peer's own port what holds for that peer's address alone", () => {
    const text = renderRuleset([
      { ...rules, peerPorts },
      { ...rules, network: "blue", vni: 77, peerPorts: [] },
    ]);
    assert.ok(
      text.includes("set peer_ports4 {\n    type ipv4_addr . inet_service\n    elements = { 172.30.0.12 . 8472 }"),
    );
    assert.ok(
      text.includes("set peer_ports6 {\n    type ipv6_addr . inet_service\n    elements = { fd30::13 . 9000 }"),
    );
    assert.doesNotMatch(text, /dport \{[^}]*(8472|9000)/);
    assert.doesNotMatch(renderRuleset([rules]), /peer_ports/);
  });

  it("names no device: names are copied for every packet", () => {
    assert.doesNotMatch(renderRuleset([rules]), /(?<!fib saddr )[io]ifname/);
  });

  it("believes a pod's address only from where its way back leads", () => {
    const text = renderRuleset([rules]);
    assert.ok(chainOf(text, "prerouting").some((line) => /^ip6 saddr .* fib saddr \. iif oif missing/.test(line)));
    assert.match(chainOf(text, "from_overlay").at(-1) ?? "", /^counter drop comment "not from a peer"/);
    const beside = (of: NetworkRules): number => chainOf(renderRuleset([of]), "beside_the_tunnel").length;
    assert.equal(beside(rules), 4 + 4);
    // Pods that keep their addresses on their way to nodes are heard there.
    assert.equal(beside({ ...rules, masquerade: { enabled: false, exclude: [] } }), 4 + 2);
    assert.doesNotMatch(renderRuleset([{ ...rules, hostRoutes: true }]), /beside_the_tunnel|not from a peer/);
  });

  it("has no masquerading where that is switched off", () => {
    const text = renderRuleset([{ ...rules, masquerade: { enabled: false, exclude: [] } }]);
    assert.doesNotMatch(text, /masquerade|postrouting/);
  });

  it("serves several networks with sets of their own", () => {
    const blue = { ...rules, network: "blue", vni: 77, peers: [], podCidrs: ["10.9.0.0/24"] };
    const text = renderRuleset([rules, blue]);
    has(text, "set peers4_77 {");
    has(text, "ip saddr @pods4_77 ip daddr != @direct4_77 masquerade fully-random");
  });

  it("leaves out what the kernel cannot do", () => {
    assert.doesNotMatch(
      renderRuleset([rules], { ...ALL_FEATURES, fib: false, fullyRandom: false }),
      /fib|fully-random/,
    );
  });

  it("refuses what is no address, prefix or name instead of passing it on", () => {
    for (const other of [
      { peers: ["1.2.3.4 } }\ndelete table inet x"] },
      { podCidrs: ["10.0.0.0/8; drop"] },
      { masquerade: { enabled: true, exclude: ["@x"] } },
      { clusterCidrs: ["0.0.0.0"] },
    ]) {
      assert.throws(() => renderRuleset([{ ...rules, ...other }]), RangeError, JSON.stringify(other));
    }
    for (const other of [
      { vni: Number.NaN },
      { vni: 1.5 },
      { port: 70_000 },
      { port: "1 } drop" as unknown as number },
      { peerPorts: [{ ip: "172.30.0.12", port: -1 }] },
      { peerPorts: [{ ip: "1.2.3.4 } }", port: 1 }] },
    ]) {
      assert.throws(() => renderRuleset([{ ...rules, ...other }]), RangeError, JSON.stringify(other));
    }
  });

  it("of no network is a table with nothing to do", () => {
    assert.doesNotMatch(renderRuleset([]), /drop comment "VXLAN|masquerade/);
  });
});
