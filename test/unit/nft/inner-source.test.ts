import assert from "node:assert/strict";
import fc from "fast-check";
import { bigIntToIp, type Family, ipToBytes } from "../../../src/addr/index.ts";
import {
  ALL_FEATURES,
  type NetworkRules,
  pairOf,
  type PeerSource,
  renderRuleset,
} from "../../../src/dataplane/nft/index.ts";
import { bytesOfPair, sourceChanges } from "../../../src/dataplane/nft/rules/inner-source.ts";

const DROP = 'counter drop comment "not an address of the peer that sends it"';
const STRANGER = 'counter drop comment "VXLAN from no known peer"';

const rulesOf = (sources: readonly PeerSource[]): NetworkRules => ({
  network: "default",
  vni: 4096,
  port: 4789,
  peers: sources.map(({ ip }) => ip),
  sources: () => sources,
  podCidrs: ["10.244.1.0/24"],
  clusterCidrs: [],
  masquerade: { enabled: true, exclude: [] },
});
const source = (ip: string, ...cidrs: string[]): PeerSource => ({ node: ip, ip, cidrs });

const chainOf = (text: string): string[] =>
  (/ {2}chain vxlan_4096 \{\n([^}]*)\n {2}\}/.exec(text)?.[1] ?? "").split("\n").map((line) => line.trim());

/** Elements by set, as bytes in hexadecimal. */
function setsOf(text: string): Map<string, Set<string>> {
  const found = text.matchAll(
    /set (source\S+) \{\n\s+typeof \S+ saddr \. @th,\d+,(\d+)\n(?:\s+elements = \{ (.*) \}\n)?/g,
  );
  return new Map(
    Array.from(found, ([, name = "", bits, elements = ""]) => {
      const size = Math.ceil(Number(bits) / 32) * 8;
      const hex = elements.split(", ").flatMap((element) => {
        const [, ip, key] = /^(\S+) \. 0x([0-9a-f]+)$/.exec(element) ?? [];
        if (ip === undefined || key === undefined) return [];
        assert.equal(key.length * 4, Number(bits), element);
        return Buffer.from(ipToBytes(ip)).toString("hex") + key.padEnd(size, "0");
      });
      return [name, new Set(hex)];
    }),
  );
}

describe("what peers may send from inside the tunnel", () => {
  it("is pairs of a peer's address and its prefixes, exact, and everything else is dropped and counted", () => {
    const text = renderRuleset([
      rulesOf([
        source("172.30.0.3", "10.244.3.0/24", "fd00:10:244:3::/64", "172.30.0.3/32"),
        source("172.30.0.2", "10.244.2.0/24", "172.30.0.2/32"),
      ]),
    ]);
    assert.ok(text.includes("elements = { 172.30.0.3 . 0x0af403, 172.30.0.2 . 0x0af402 }"), text);
    assert.ok(text.includes("elements = { 172.30.0.3 . 0xfd00001002440003 }"), text);
    assert.ok(text.includes("elements = { 172.30.0.3 . 0xac1e0003, 172.30.0.2 . 0xac1e0002 }"), text);
    assert.deepEqual(chainOf(text), [
      "@th,224,16 0x0800 ip saddr . @th,336,24 @source4_24_over4_4096 accept",
      "@th,224,16 0x0800 ip saddr . @th,336,32 @source4_32_over4_4096 accept",
      "@th,224,16 0x86dd ip saddr . @th,304,64 @source6_64_over4_4096 accept",
      "@th,224,16 0x86dd ip saddr . @th,304,128 @source6_128_over4_4096 accept",
      `ip saddr @peers4_4096 ${DROP}`,
      `ip6 saddr @peers6_4096 ${DROP}`,
      STRANGER,
    ]);
  });

  it("takes prefixes of any length by the bits that they have, over either family", () => {
    const text = renderRuleset([rulesOf([source("fd30::2", "10.244.2.64/26", "fd00:0:0:4560::/60", "10.128.0.0/9")])]);
    const rules = chainOf(text);
    assert.ok(rules.includes("@th,224,16 0x0800 ip6 saddr . (@th,336,32 & 0xffffffc0) @source4_26_over6_4096 accept"));
    assert.ok(rules.includes("@th,224,16 0x0800 ip6 saddr . (@th,336,16 & 0xff80) @source4_9_over6_4096 accept"));
    assert.ok(
      rules.includes("@th,224,16 0x86dd ip6 saddr . (@th,304,64 & 0xfffffffffffffff0) @source6_60_over6_4096 accept"),
    );
    assert.ok(text.includes("elements = { fd30::2 . 0x0af40240 }"), text);
    assert.ok(text.includes("elements = { fd30::2 . 0xfd00000000004560 }"), text);
  });

  it("is not asked where it is not known, and where nftables cannot", () => {
    const asToday = ["ip saddr @peers4_4096 accept", "ip6 saddr @peers6_4096 accept", STRANGER];
    const { sources: _unknown, ...unknown } = rulesOf([]);
    assert.deepEqual(chainOf(renderRuleset([unknown])), asToday);
    const known = rulesOf([source("172.30.0.2", "10.244.2.0/24")]);
    const text = renderRuleset([known], { ...ALL_FEATURES, innerSource: false });
    assert.deepEqual(chainOf(text), asToday);
    assert.doesNotMatch(text, /source4/);
  });

  it("refuses what is no address or prefix", () => {
    for (const [ip, cidr] of [
      ["1.2.3.4 }", "10.0.0.0/8"],
      ["172.30.0.2", "10.0.0.0/8 }"],
      ["172.30.0.2", "x"],
    ] as const)
      assert.throws(() => renderRuleset([rulesOf([source(ip, cidr)])]), RangeError, `${ip} ${cidr}`);
  });

  const prefix = fc.constantFrom<Family>(4, 6).chain((family) =>
    fc
      .tuple(fc.integer({ min: 1, max: family === 4 ? 32 : 128 }), fc.bigInt({ min: 0n, max: (1n << 128n) - 1n }))
      .map(([length, bits]) => {
        const all = family === 4 ? 32 : 128;
        const host = BigInt(all - length);
        const first = ((bits & ((1n << BigInt(all)) - 1n)) >> host) << host;
        return `${bigIntToIp(first, family)}/${length}`;
      }),
  );
  const peers = fc.uniqueArray(
    fc.record({ n: fc.integer({ min: 1, max: 6 }), cidrs: fc.array(prefix, { maxLength: 4 }) }),
    { selector: ({ n }) => n, maxLength: 6 },
  );
  for (const address of [(n: number) => `172.30.0.${n}`, (n: number) => `fd30::${n}`])
    it(`is the same put in and taken out piece by piece as put in whole, over ${address(1)}`, () => {
      const pairs = (of: readonly PeerSource[]): Set<string> =>
        new Set(of.flatMap(({ ip, cidrs }) => cidrs.map((cidr) => pairOf(ip, cidr))));
      fc.assert(
        fc.property(fc.array(peers, { minLength: 2, maxLength: 6 }), (steps) => {
          const states = steps.map((step) => step.map(({ n, cidrs }) => source(address(n), ...cidrs)));
          const model = new Map<string, Set<string>>();
          let before: readonly PeerSource[] = [];
          for (const now of states) {
            const [had, has] = [pairs(before), pairs(now)];
            const change = { come: [...has.difference(had)], gone: [...had.difference(has)] };
            for (const { set, come, gone } of sourceChanges(rulesOf(now), change)) {
              const elements = model.get(set) ?? new Set();
              model.set(set, elements);
              for (const one of gone) assert.ok(elements.delete(bytesOfPair(one).toString("hex")), one);
              for (const one of come) elements.add(bytesOfPair(one).toString("hex"));
            }
            before = now;
          }
          const filled = (sets: Map<string, Set<string>>) =>
            [...sets].filter(([, { size }]) => size > 0).sort(([a], [b]) => (a < b ? -1 : 1));
          assert.deepEqual(filled(model), filled(setsOf(renderRuleset([rulesOf(before)]))));
        }),
      );
    });
});
