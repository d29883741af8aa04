import assert from "node:assert/strict";
import fc from "fast-check";
import { bigIntToIp, cidrContains, type Family, ipToBigInt } from "../../../src/addr/index.ts";
import { nextFit, podSpan, poolContains, poolSize } from "../../../src/ipam/local/pool.ts";
import { choicesOf } from "../../../src/ipam/local/request.ts";
import { IpamInvalid, type ReserveRequest } from "../../../src/ipam/local/index.ts";

function span(cidr: string): string[] {
  const { first, last } = podSpan(cidr);
  const family: Family = cidr.includes(":") ? 6 : 4;
  const all: string[] = [];
  for (let value = first; value <= last; value++) all.push(bigIntToIp(value, family));
  return all;
}

const only = (request: ReserveRequest) => {
  const [choice] = choicesOf(request);
  assert.ok(choice);
  return choice;
};

describe("the addresses of a pod CIDR that pods may have", () => {
  it("leave out the network, first host and IPv4 broadcast address", () => {
    assert.deepEqual(span("10.244.1.0/29"), ["10.244.1.2", "10.244.1.3", "10.244.1.4", "10.244.1.5", "10.244.1.6"]);
    assert.deepEqual(span("fd00::/126"), ["fd00::2", "fd00::3"]);
  });

  it("make the best of small prefixes", () => {
    assert.deepEqual(span("10.0.0.4/30"), ["10.0.0.6"]);
    assert.deepEqual(span("10.0.0.4/31"), ["10.0.0.5"]);
    assert.deepEqual(span("10.0.0.4/32"), []);
    assert.deepEqual(span("fd00::4/127"), ["fd00::5"]);
    assert.deepEqual(span("fd00::4/128"), []);
  });

  it("are walked by next-fit: each once, starting behind the last one given, skipping blocked ones", () => {
    const { pool } = only({ podCidrs: ["10.0.0.0/28"] });
    fc.assert(
      fc.property(fc.integer({ min: 2, max: 14 }), fc.uniqueArray(fc.integer({ min: 2, max: 14 })), (last, blocked) => {
        const taken = new Set(blocked.map((n) => `10.0.0.${n}`));
        let cursor: string | undefined = `10.0.0.${last}`;
        const given: string[] = [];
        for (;;) {
          cursor = nextFit(pool, cursor, (ip) => taken.has(ip));
          if (cursor === undefined) break;
          given.push(cursor);
          taken.add(cursor);
        }
        const round = [...Array(13).keys()].map((i) => ((last - 2 + 1 + i) % 13) + 2);
        assert.deepEqual(
          given,
          round.filter((n) => !blocked.includes(n)).map((n) => `10.0.0.${n}`),
        );
      }),
    );
  });

  it("cost nothing for their number: a /64 and a /8 answer at once", () => {
    for (const cidr of ["fd00:1::/64", "10.0.0.0/8"]) {
      const { pool } = only({ podCidrs: [cidr] });
      const first = nextFit(pool, undefined, () => false);
      assert.ok(first && poolContains(pool, first));
      assert.equal(poolSize(pool), cidr.startsWith("fd") ? (1n << 64n) - 2n : (1n << 24n) - 3n);
    }
  });
});

describe("a request for addresses", () => {
  const podCidrs = ["10.244.1.0/24", "fd00:1::/64"];

  it("is one choice a family in the pod CIDRs' order", () => {
    assert.deepEqual(
      choicesOf({ podCidrs: ["fd00:1::/64", "10.244.1.0/24"] }).map(({ pool }) => pool.family),
      [6, 4],
    );
  });

  it("takes asked-for addresses with or without prefix; the other family gets any", () => {
    const [four, six] = choicesOf({ podCidrs, ips: ["10.244.1.77/24"] });
    assert.equal(four?.wanted, "10.244.1.77");
    assert.equal(six?.wanted, undefined);
    assert.equal(choicesOf({ podCidrs, ips: ["FD00:1:0::9"] })[1]?.wanted, "fd00:1::9");
  });

  it("is narrowed by ranges, one set a family, gateway excluded", () => {
    const { pool } = only({
      podCidrs,
      ranges: [
        [
          { subnet: "10.244.1.0/24", rangeStart: "10.244.1.10", rangeEnd: "10.244.1.12", gateway: "10.244.1.11" },
          { subnet: "10.244.1.128/30" },
        ],
      ],
    });
    assert.equal(poolSize(pool), 3n);
    assert.ok(poolContains(pool, "10.244.1.10") && poolContains(pool, "10.244.1.130"));
    assert.ok(!poolContains(pool, "10.244.1.11") && !poolContains(pool, "10.244.1.129"));
    assert.match(pool.label, /10\.244\.1\.10 to 10\.244\.1\.12 of 10\.244\.1\.0\/24, 10\.244\.1\.128\/30/);
  });

  it("may name a subnet wider than the node's, as long as the range itself is the node's", () => {
    const range = { subnet: "10.244.0.0/16", rangeStart: "10.244.1.50", rangeEnd: "10.244.1.60" };
    assert.equal(poolSize(only({ podCidrs, ranges: [[range]] }).pool), 11n);
  });

  const refused: [string, ReserveRequest, RegExp][] = [
    ["no pod CIDR", { podCidrs: [] }, /no pod CIDR/],
    ["a pod CIDR with host bits", { podCidrs: ["10.0.0.1/24"] }, /pod CIDR: .*10\.0\.0\.0\/24/],
    ["a pod CIDR without room", { podCidrs: ["10.0.0.1/32"] }, /10\.0\.0\.1\/32 has no room for pods/],
    ["an IPv6 pod CIDR without room", { podCidrs: ["fd00::1/128"] }, /fd00::1\/128 has no room/],
    ["all excluded", { podCidrs: ["10.0.0.0/30"], exclude: ["10.0.0.2"] }, /no room/],
    ["no address", { podCidrs, ips: ["banana"] }, /asked-for address: "banana"/],
    ["an address elsewhere", { podCidrs, ips: ["10.9.9.9"] }, /10\.9\.9\.9 is outside of this node's pod CIDRs/],
    ["another family", { podCidrs: ["10.244.1.0/24"], ips: ["fd00:1::5"] }, /fd00:1::5 is outside/],
    ["the network address", { podCidrs, ips: ["10.244.1.0"] }, /10\.244\.1\.0 cannot be given/],
    ["the gateway's place", { podCidrs, ips: ["fd00:1::1"] }, /fd00:1::1 cannot be given/],
    ["the broadcast address", { podCidrs, ips: ["10.244.1.255"] }, /cannot be given/],
    ["two of a family", { podCidrs, ips: ["10.244.1.5", "10.244.1.6"] }, /two IPv4 addresses/],
    ["a range elsewhere", { podCidrs, ranges: [[{ subnet: "10.9.0.0/24" }]] }, /10\.9\.0\.0\/24 is not wholly in one/],
    ["a range set without ranges", { podCidrs, ranges: [[]] }, /empty/],
    [
      "a mixed set",
      { podCidrs, ranges: [[{ subnet: "10.244.1.0/25" }, { subnet: "fd00:1::/80" }]] },
      /mixes IPv4 and IPv6/,
    ],
    [
      "two sets of a family",
      { podCidrs, ranges: [[{ subnet: "10.244.1.0/25" }], [{ subnet: "10.244.1.128/25" }]] },
      /two sets of IPv4/,
    ],
    [
      "a start outside",
      { podCidrs, ranges: [[{ subnet: "10.244.1.0/25", rangeStart: "10.244.1.200" }]] },
      /rangeStart 10\.244\.1\.200 is outside/,
    ],
    [
      "a range backwards",
      { podCidrs, ranges: [[{ subnet: "10.244.1.0/24", rangeStart: "10.244.1.9", rangeEnd: "10.244.1.3" }]] },
      /no address that a pod can have/,
    ],
    [
      "only never-given addresses",
      { podCidrs, ranges: [[{ subnet: "10.244.1.0/24", rangeStart: "10.244.1.0", rangeEnd: "10.244.1.1" }]] },
      /only the network, first host or broadcast/,
    ],
    [
      "an address outside of the range",
      { podCidrs, ips: ["10.244.1.99"], ranges: [[{ subnet: "10.244.1.0/28" }]] },
      /only those in 10\.244\.1\.0\/28/,
    ],
  ];
  for (const [what, request, message] of refused) {
    it(`is refused by name: ${what}`, () => {
      assert.throws(
        () => choicesOf(request),
        (error) => error instanceof IpamInvalid && message.test(error.message),
      );
    });
  }

  it("never lets an address through that is outside of the pod CIDRs, whatever is asked", () => {
    const text = fc.oneof(
      fc.ipV4(),
      fc.ipV6(),
      fc.string(),
      fc.constantFrom("10.244.1.7", "fd00:1::7", "10.244.1.7/24"),
    );
    const cidr = fc.oneof(fc.constantFrom("10.244.1.0/26", "10.244.0.0/16", "fd00:1::/80"), text);
    fc.assert(
      fc.property(
        fc.array(text, { maxLength: 2 }),
        fc.array(fc.array(fc.record({ subnet: cidr, rangeStart: text }, { requiredKeys: ["subnet"] })), {
          maxLength: 2,
        }),
        (ips, ranges) => {
          let choices: ReturnType<typeof choicesOf>;
          try {
            choices = choicesOf({ podCidrs, ips, ranges });
          } catch (error) {
            assert.ok(error instanceof IpamInvalid, String(error));
            return;
          }
          for (const { pool, wanted } of choices) {
            for (const { first, last } of pool.spans) {
              for (const value of [first, last]) {
                const ip = bigIntToIp(value, pool.family);
                assert.ok(
                  podCidrs.some(
                    (own) => cidrContains(own, ip) && ipToBigInt(ip) !== ipToBigInt(own.split("/")[0] as string),
                  ),
                );
              }
            }
            if (wanted !== undefined) assert.ok(poolContains(pool, wanted));
          }
        },
      ),
    );
  });
});
