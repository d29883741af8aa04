import assert from "node:assert/strict";
import { type NetworkRules, renderRuleset } from "../../../src/dataplane/nft/index.ts";

const rules: NetworkRules = {
  network: "default",
  vni: 4096,
  port: 4789,
  peers: ["172.30.0.11"],
  podCidrs: ["10.244.1.0/24", "fd00:10:244:1::/64"],
  clusterCidrs: ["10.244.0.0/16", "fd00:10:244::/48"],
  masquerade: { enabled: true, exclude: [] },
};

describe("the ruleset of direct routing", () => {
  const lines = (directOver: readonly number[]) =>
    renderRuleset([{ ...rules, directOver }])
      .split("\n")
      .map((line) => line.trim());

  it("lets nobody on the underlay send from the addresses of pods here", () => {
    assert.ok(lines([2, 5]).includes("iif 2 goto from_outside"));
    assert.ok(lines([2, 5]).includes("iif 5 goto from_outside"));
  });

  it("lets pods' own VXLAN to peers' pods pass where it is not masqueraded, before it is dropped", () => {
    const text = lines([2]);
    const pass = text.indexOf(
      "iifgroup 0x534b oif 2 ip daddr @direct4_4096 ip daddr != @pods4_4096 udp dport { 4789 } accept",
    );
    const drop = text.findLastIndex((line) => line.startsWith("iifgroup 0x534b udp dport"));
    assert.ok(pass >= 0 && pass < drop, text.join("\n"));
  });

  it("is what it was where nothing is routed directly", () => {
    assert.equal(renderRuleset([{ ...rules, directOver: [] }]), renderRuleset([rules]));
    assert.doesNotMatch(renderRuleset([rules]), /\b[io]if \d/);
  });

  it("is made of no interface index that is none", () => {
    assert.throws(() => renderRuleset([{ ...rules, directOver: [0] }]), RangeError);
  });
});
