import assert from "node:assert/strict";
import { namespaceRules, renderRuleset, tunnelRules } from "../../../src/dataplane/nft/index.ts";

const blue = { network: "blue", vni: 100, port: 4789 };
const CIDR = "10.244.1.0/26";

describe("the rules of a network with a namespace of its own", () => {
  it("say nothing of its addresses on the host, and let its VXLAN in from its peers alone", () => {
    let ips = ["172.30.0.2"];
    const rules = tunnelRules(blue, () => ({ ips, ports: [{ ip: "172.30.0.2", port: 8472 }] }));
    const text = renderRuleset([rules]);
    assert.match(text, /set peers4_100 \{[^}]*elements = \{ 172\.30\.0\.2 \}/);
    assert.match(text, /udp dport 4789 @th,96,24 vmap \{ 100 : goto vxlan_100 \}/);
    assert.match(text, /iifgroup \S+ udp dport \{ 4789 \} counter drop comment "VXLAN from a pod"/);
    assert.match(text, /iifgroup \S+ ip daddr \. udp dport @peer_ports4 counter drop comment "VXLAN from a pod"/);
    assert.doesNotMatch(text, /masquerade|from outside|no pod has this/);
    ips = ["172.30.0.3"];
    assert.match(renderRuleset([rules]), /172\.30\.0\.3/);
  });

  it("hold pods to their addresses in the namespace, and let nobody be one from outside", () => {
    const text = renderRuleset([namespaceRules(blue, [CIDR, "10.244.1.64/26", "fd00::/122"])]);
    assert.match(text, /fib saddr \. iif oif missing counter drop/);
    assert.match(text, /ip saddr @pods4_100 counter drop comment "a pod of this node, from outside"/);
    assert.match(text, /ip6 saddr fd00::\/122 counter drop/);
    assert.doesNotMatch(text, /masquerade/);
    assert.doesNotMatch(text, /accept comment|saddr @peers4_100 drop/);
    assert.match(text, /set peers4_100 \{\n\s+type ipv4_addr\n\s+\}/);
  });

  it("have connections followed for the fast path, and otherwise by no rule", () => {
    assert.doesNotMatch(renderRuleset([namespaceRules(blue, [CIDR])]), /\bct\b/);
    assert.match(
      renderRuleset([namespaceRules(blue, [CIDR], undefined, true)]),
      /hook forward .*\n +ct state established/,
    );
  });
});
