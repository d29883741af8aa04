import assert from "node:assert/strict";
import { type NetworkRules, renderRuleset } from "../../../src/nft/index.ts";

const rules: NetworkRules = {
  network: "default",
  vni: 4096,
  device: "sky.4096",
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
    has(text, "elements = { 10.244.0.0/16, 169.254.0.0/16, 192.168.0.0/16, 224.0.0.0/4, 255.255.255.255/32 }");
    const other = {
      ...rules,
      peers: [...rules.peers].toReversed(),
      clusterCidrs: [...rules.clusterCidrs].toReversed(),
    };
    assert.equal(renderRuleset([other]), text);
  });

  it("drops VXLAN of its own VNI only, from anybody but the peers", () => {
    const text = renderRuleset([{ ...rules, port: 8472 }]);
    has(text, 'udp dport 8472 @th,96,24 4096 ip saddr != @peers4_4096 counter drop comment "VXLAN from no known peer"');
    has(
      text,
      'udp dport 8472 @th,96,24 4096 ip6 saddr != @peers6_4096 counter drop comment "VXLAN from no known peer"',
    );
  });

  it("keeps pods from the VXLAN ports of nodes, those of peers with another port among them", () => {
    const text = renderRuleset([{ ...rules, peerPorts: [8472] }]);
    has(text, 'iifgroup 0x534b udp dport { 4789, 8472 } counter drop comment "VXLAN from a pod"');
    has(
      text,
      'iifgroup 0x534b oifgroup != 0x534b oifname != { "sky.4096" } udp dport { 4789, 8472 } counter drop comment "VXLAN from a pod"',
    );
  });

  it("keeps packets to addresses that no pod has from the default route", () => {
    const text = renderRuleset([rules]);
    for (const [ip, pods] of [
      ["ip", "pods4_4096"],
      ["ip6", "pods6_4096"],
    ]) {
      has(
        text,
        `oifname != { "sky.4096" } ${ip} daddr @${pods} rt ${ip} nexthop != @${pods} counter drop comment "no pod has this address"`,
      );
    }
  });

  it("has no masquerading where that is switched off", () => {
    const text = renderRuleset([{ ...rules, masquerade: { enabled: false, exclude: [] } }]);
    assert.doesNotMatch(text, /masquerade|postrouting/);
  });

  it("serves several networks with sets of their own", () => {
    const blue = { ...rules, network: "blue", vni: 77, device: "sky.77", peers: [], podCidrs: ["10.9.0.0/24"] };
    const text = renderRuleset([rules, blue]);
    has(text, "set peers4_77 {");
    has(text, 'oifname { "sky.4096", "sky.77" } return');
    has(text, "ip saddr @pods4_77 ip daddr != @direct4_77 masquerade fully-random");
  });

  it("leaves out what the kernel cannot do", () => {
    assert.doesNotMatch(renderRuleset([rules], { fib: false, fullyRandom: false }), /fib|fully-random/);
  });

  it("refuses what is no address, prefix or name instead of passing it on", () => {
    for (const other of [
      { peers: ["1.2.3.4 } }\ndelete table inet x"] },
      { podCidrs: ["10.0.0.0/8; drop"] },
      { device: 'x" accept' },
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
      { peerPorts: [-1] },
    ]) {
      assert.throws(() => renderRuleset([{ ...rules, ...other }]), RangeError, JSON.stringify(other));
    }
  });

  it("of no network is a table with nothing to do", () => {
    assert.doesNotMatch(renderRuleset([]), /drop comment "VXLAN|masquerade/);
  });
});
