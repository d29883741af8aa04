import assert from "node:assert/strict";
import {
  ALL_FEATURES,
  namespaceRules,
  type NetworkRules,
  renderRuleset,
  tunnelRules,
} from "../../../src/dataplane/nft/index.ts";

const blue = { network: "blue", vni: 100, port: 4789 };
const defaultNetwork: NetworkRules = {
  network: "default",
  vni: 4096,
  port: 8472,
  peers: ["172.30.0.12"],
  podCidrs: ["10.244.1.0/24"],
  clusterCidrs: ["10.244.0.0/16", "fd00:10:244::/48"],
  masquerade: { enabled: false, exclude: ["192.168.0.0/16"] },
};
const tunnel = (uplink: boolean): NetworkRules => tunnelRules(blue, () => ({ ips: [] }), uplink);

/** The rules of a chain in order, without their comments. */
const chainOf = (text: string, name: string): string[] =>
  ((text.split(`  chain ${name} {\n`)[1] ?? "").split("\n  }")[0] ?? "")
    .split("\n")
    .map((line) => line.trim().replace(/ comment .*/, ""));

describe("the rules of a pod network's uplink", () => {
  it("let out of the host what goes neither to the cluster, a Service, another network nor a peer's VXLAN", () => {
    const text = renderRuleset([defaultNetwork, tunnel(true)]);
    assert.deepEqual(chainOf(text, "from_uplink"), [
      "meta mark & 0x00003f00 != 0 goto by_gateway",
      "ip saddr != 169.254.64.0/18 counter drop",
      "ip6 saddr != fd53:4b59:4c41:4e45::/112 counter drop",
      "ct status dnat counter drop",
      "oifgroup { 0x534b, 0x534c, 0x534d } counter drop",
      "udp dport { 4789, 8472 } counter drop",
      "ip daddr @inside4 counter drop",
      "ip6 daddr @inside6 counter drop",
      "goto next_hop",
    ]);
    assert.deepEqual(chainOf(text, "by_gateway"), [
      "ct status dnat counter drop",
      "oifgroup { 0x534b, 0x534d } counter drop",
      "udp dport { 4789, 8472 } counter drop",
      "ip daddr @inside4 counter drop",
      "ip6 daddr @inside6 counter drop",
      "meta mark & 0x00003f00 == 0x00003e00 oifgroup != 0x534c goto next_hop",
      "oifgroup 0x534c accept",
      "counter drop",
    ]);
    const inside = "elements = { 10.244.0.0/16, 169.254.0.0/16, 224.0.0.0/4, 255.255.255.255/32 }";
    assert.ok(text.includes(`set inside4 {\n    type ipv4_addr\n    flags interval\n    ${inside}`), text);
    assert.ok(chainOf(text, "input")[1]?.startsWith("iifgroup 0x534d counter drop"));
    assert.deepEqual(chainOf(text, "forward").slice(1, 4), [
      "iifgroup 0x534d goto from_uplink",
      "oifgroup 0x534d goto to_uplink",
      "oifgroup 0x534b accept",
    ]);
    assert.ok(chainOf(text, "prerouting").includes("iifgroup 0x534d goto from_pod"));
    // whatever the default network's own masquerading is
    assert.ok(chainOf(text, "postrouting").includes("ip saddr 169.254.64.0/18 masquerade fully-random"));
  });

  it("let answers in alone, at both ends", () => {
    const answers = ["ct state established,related accept", "counter drop"];
    assert.deepEqual(chainOf(renderRuleset([defaultNetwork, tunnel(true)]), "to_uplink"), answers);
    assert.deepEqual(chainOf(renderRuleset([namespaceRules(blue, [], ["10.50.0.0/16"])]), "from_uplink"), answers);
  });

  it("let pods of this node out of the network's namespace, but not to addresses of the network", () => {
    const text = renderRuleset([namespaceRules(blue, ["10.50.1.0/26"], ["10.50.0.0/16", "fd50::/64"])]);
    assert.deepEqual(chainOf(text, "to_uplink"), [
      "iifgroup != 0x534b counter drop",
      "ip daddr @inside4 counter drop",
      "ip6 daddr @inside6 counter drop",
      "accept",
    ]);
    assert.match(text, /set inside4 \{[^}]*10\.50\.0\.0\/16/);
    assert.match(text, /set inside6 \{[^}]*fd50::\/64/);
    assert.ok(chainOf(text, "postrouting").includes("oifgroup 0x534d masquerade fully-random"));
    assert.ok(chainOf(text, "prerouting").includes("iifgroup 0x534d goto from_outside"));
    assert.ok(chainOf(text, "input")[1]?.startsWith("iifgroup 0x534d counter drop"));
  });

  it("are there only where there is one, or was one before anybody says so", () => {
    const ofInet = (text: string): string =>
      (text.split("add table arp")[0] as string).replace("iifgroup { 0x534b, 0x534c, 0x534d } accept", "");
    const none = /0x534d|uplink|inside|masquerade/;
    assert.doesNotMatch(ofInet(renderRuleset([defaultNetwork, tunnel(false)])), none);
    assert.doesNotMatch(ofInet(renderRuleset([namespaceRules(blue, ["10.50.1.0/26"])])), none);
    const before = renderRuleset([defaultNetwork, tunnel(false)], ALL_FEATURES, true);
    assert.equal(before, renderRuleset([defaultNetwork, tunnel(true)]));
    assert.doesNotMatch(renderRuleset([], ALL_FEATURES, true), /uplink/);
  });

  it("do without what the kernel lacks", () => {
    const features = { ...ALL_FEATURES, fullyRandom: false };
    assert.match(renderRuleset([defaultNetwork, tunnel(true)], features), /ip saddr 169\.254\.64\.0\/18 masquerade\n/);
  });
});
