import assert from "node:assert/strict";
import { annotatedLimits, bucketOf, isBucket, parseRate, rateText } from "../../../src/dataplane/bandwidth/index.ts";

describe("rates of annotations", () => {
  it("are Kubernetes quantities", () => {
    const rates: [string, number][] = [
      ["1k", 1e3],
      ["10M", 1e7],
      ["1G", 1e9],
      ["1P", 1e15],
      ["1Ki", 1_024],
      ["1Gi", 2 ** 30],
      ["1.5M", 1.5e6],
      [".5M", 5e5],
      ["5.M", 5e6],
      ["+2M", 2e6],
      ["1000", 1e3],
      ["1e6", 1e6],
      ["1E6", 1e6],
      ["12e-1k", Number.NaN],
      ["1000001m", 1_001],
      ["0.0000011T", 1_100_000],
    ];
    for (const [text, rate] of rates) assert.equal(parseRate(text), Number.isNaN(rate) ? undefined : rate, text);
  });

  it("limit nothing where they are none, or not within 1k and 1P", () => {
    const values = [
      "",
      " ",
      "M",
      "ten",
      "-5M",
      "10 M",
      "10m",
      "999",
      "0",
      "1.1P",
      "1E",
      "2e15",
      "1e999",
      "0x10",
      "1k;reboot",
    ];
    const more = ["10M\n", "$(id)", "9".repeat(21), "1".repeat(5_000), "NaN", "Infinity", "10MB", "10Mi i", "١٠M"];
    for (const text of [...values, ...more]) {
      assert.equal(parseRate(text), undefined, text);
      const { limits, faults } = annotatedLimits({ "kubernetes.io/egress-bandwidth": text });
      assert.deepEqual(limits, {});
      assert.equal(faults.length, 1);
      assert.match(
        faults[0] ?? "",
        /^annotation kubernetes.io\/egress-bandwidth is ".*, and should be a rate of 1k to 1P bits/s,
      );
      assert.ok((faults[0] ?? "").length < 200, "what somebody has written is cut");
    }
  });

  it("limit each direction by its own annotation", () => {
    const all = {
      "kubernetes.io/ingress-bandwidth": "10M",
      "kubernetes.io/egress-bandwidth": "no",
      "kubernetes.io/other": "1k",
    };
    const { limits, faults } = annotatedLimits(all);
    assert.deepEqual(limits, { ingress: { rate: 1e7 } });
    assert.equal(faults.length, 1);
    assert.deepEqual(annotatedLimits({}), { limits: {}, faults: [] });
    assert.equal(
      annotatedLimits({ "kubernetes.io/ingress-bandwidth": 5_000 }).faults.length,
      1,
      "an annotation is text",
    );
  });

  it("are shown as short as they can be", () => {
    assert.deepEqual([1e3, 1e7, 1_536e3, 1_234_567, 1e15].map(rateText), ["1k", "10M", "1536k", "1234567", "1P"]);
  });
});

describe("the token bucket of a rate", () => {
  const MTUS = [68, 1_280, 1_450, 8_950, 65_535];
  const RATES = [1e3, 1e6, 8e6, 1e8, 1e9, 1e10, 1e12, 1e15];

  it("has the rate, room for two frames and a burst, and sizes that the kernel can hold", () => {
    for (const mtu of MTUS)
      for (const bits of RATES) {
        const { rate, burst, limit } = bucketOf({ rate: bits }, mtu);
        assert.equal(rate, bits / 8);
        assert.ok(burst >= 2 * mtu && limit >= burst + mtu, `${bits} at ${mtu}: ${burst}, ${limit}`);
        assert.ok(limit < 2 ** 31 && Number.isInteger(burst) && Number.isInteger(limit));
        // As the kernel keeps it: a number of 32 bits of 64 ns each.
        assert.ok(burst / rate / 64e-9 < 2 ** 32 || mtu > 9_000);
      }
  });

  it("lets pass at most 3 % more within ten seconds from 1 Mbit/s on, whatever burst a runtime asks for", () => {
    for (const bits of RATES.filter((one) => one >= 1e6))
      for (const burst of [undefined, 1, 8e5, 2 ** 31 * 8, Number.MAX_SAFE_INTEGER]) {
        const bucket = bucketOf({ rate: bits, ...(burst !== undefined && { burst }) }, 1_450);
        assert.ok(bucket.burst <= 0.03 * 10 * bucket.rate, `${bits}, burst ${burst}: ${bucket.burst}`);
      }
  });

  it("is the usual one where a runtime asks for all the burst that it can say", () => {
    for (const bits of RATES)
      for (const burst of [2 ** 31 - 1, 2 ** 32 - 1, Number.MAX_SAFE_INTEGER])
        assert.deepEqual(bucketOf({ rate: bits, burst }, 1_450), bucketOf({ rate: bits }, 1_450));
  });

  it("takes the largest packets whole from 6 Mbit/s on, and lets little wait", () => {
    for (const bits of [6e6, 1e8, 1e10]) assert.ok(bucketOf({ rate: bits }, 1_450).burst >= 65_536 + 45 * 66);
    for (const bits of [1e6, 1e7, 1e8, 1e9, 1e10]) {
      const { rate, burst, limit } = bucketOf({ rate: bits }, 1_450);
      assert.ok((limit - burst) / rate <= 0.04, `${bits}: ${limit - burst}`);
    }
  });

  it("is recognised as the kernel keeps it", () => {
    const wanted = bucketOf({ rate: 1e9 }, 1_450);
    assert.ok(isBucket(wanted, { ...wanted, burst: wanted.burst - 8 }));
    for (const other of [
      undefined,
      { ...wanted, rate: wanted.rate + 1 },
      { ...wanted, limit: wanted.limit - 1 },
      { ...wanted, burst: 2 * wanted.burst },
    ])
      assert.ok(!isBucket(wanted, other));
  });
});
