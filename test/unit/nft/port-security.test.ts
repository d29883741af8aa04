import assert from "node:assert/strict";
import { ALL_FEATURES, namespaceRules, renderRuleset } from "../../../src/dataplane/nft/index.ts";

const lan = namespaceRules({ network: "lan", vni: 6000, port: 4789 }, ["10.80.0.0/26"]);
const ports = [{ ifname: "sky0123456789a", mac: "02:00:00:00:00:01", ips: ["10.80.0.2", "fd80::2"] }];

describe("the port security of bridged networks", () => {
  const text = renderRuleset([{ ...lan, portSecurity: { ports, allowed: ["10.80.255.0/28", "fd80:ff::1/128"] } }]);

  it("lets a port send from its own MAC and addresses, and from those that the network allows", () => {
    assert.ok(text.includes('elements = { "sky0123456789a" . 02:00:00:00:00:01 . 10.80.0.2 }'), text);
    assert.ok(
      text.includes(
        'elements = { "sky0123456789a" . 02:00:00:00:00:01 . fd80::2, "sky0123456789a" . 02:00:00:00:00:01 . fe80::ff:fe00:1 }',
      ),
    );
    assert.match(text, /set allowed4 \{[^}]*10\.80\.255\.0\/28/);
    assert.match(text, /iifname "sky0123456789a" @th,64,128 \{ 0xfd80/);
  });

  it("lets a port alone send from what its claim allows, and announce it", () => {
    const [one] = ports as [(typeof ports)[number]];
    const other = { ...one, ifname: "sky0123456789b", mac: "02:00:00:00:00:02", ips: ["10.80.0.3"] };
    const claims = { ...one, allowed: ["10.80.9.0/30", "10.80.9.1/32", "fd80::9/128"] };
    const text = renderRuleset([{ ...lan, portSecurity: { ports: [claims, other], allowed: ["10.80.255.0/28"] } }]);
    for (const rule of [
      'iifname "sky0123456789a" arp saddr ip { 10.80.9.0/30 } accept',
      'iifname "sky0123456789a" ip saddr { 10.80.9.0/30 } accept',
      'iifname "sky0123456789a" ip6 saddr { fd80::9/128 } jump own_of_port',
      'iifname "sky0123456789a" @th,64,128 { 0xfd800000000000000000000000000009 } accept',
    ])
      assert.ok(text.includes(rule), `${rule}\n${text}`);
    assert.doesNotMatch(text, /"sky0123456789b"[^\n]*saddr/);
    assert.doesNotMatch(/set allowed4 \{[^}]*\}/.exec(text)?.[0] ?? "", /10\.80\.9/);
    assert.match(
      text,
      /set moving4 \{[^}]*10\.80\.255\.0\/28[^}]*10\.80\.9\.0\/30|set moving4 \{[^}]*10\.80\.9\.0\/30[^}]*10\.80\.255\.0\/28/,
    );
  });

  it("passes announcements of what a port may send from through the bridge in disguise, and no others", () => {
    const rules = text.slice(text.indexOf("chain announced {"), text.indexOf("chain leaving {"));
    assert.match(text, /set announced4 \{[^}]*elements = \{ 10\.80\.0\.2 \. 10\.80\.0\.2 \}/);
    assert.match(rules, /priority -250/);
    assert.match(rules, /arp saddr ip 0\.0\.0\.0 arp daddr ip @moving4 goto announced_arp/);
    assert.match(rules, /ip6 saddr :: icmpv6 type nd-neighbor-solicit icmpv6 code 0 @th,64,128 \{ 0xfd80/);
    assert.match(text, /chain leaving \{\n +type filter hook postrouting/);
    const plain = renderRuleset([{ ...lan, portSecurity: { ports: [], allowed: ["10.80.255.0/28"] } }]);
    assert.doesNotMatch(plain, /announced4|nd-neighbor-solicit icmpv6 code 0/);
  });

  it("is a table of its own, where there is a bridge and the kernel has such tables", () => {
    assert.match(text, /add table bridge skylane\ndelete table bridge skylane\n/);
    assert.doesNotMatch(renderRuleset([lan]), /bridge/);
    const without = renderRuleset([{ ...lan, portSecurity: { ports, allowed: [] } }], {
      ...ALL_FEATURES,
      bridge: false,
    });
    assert.doesNotMatch(without, /bridge/);
  });

  it("refuses what is no name, MAC or address", () => {
    for (const other of [{ ifname: 'x" accept' }, { mac: "02:00" }, { ips: ["10.80.0.2 }"] }])
      assert.throws(
        () =>
          renderRuleset([
            { ...lan, portSecurity: { ports: [{ ...(ports[0] as (typeof ports)[number]), ...other }], allowed: [] } },
          ]),
        RangeError,
      );
    assert.throws(() => renderRuleset([{ ...lan, portSecurity: { ports: [], allowed: ["x"] } }]), RangeError);
  });
});
