import assert from "node:assert/strict";
import { podsUnserved, unservedInWords } from "../../../src/pod-requests/unserved-pods.ts";

const KNOWN = ["10.244.0.0/16", "10.96.0.0/16", "192.0.2.1/32"];

describe("pods that do not reach all Services", () => {
  it("are those with routes to other ranges of the family only", () => {
    const pods = [
      { pod: "shop/b", destinations: KNOWN },
      { pod: "shop/a", destinations: [...KNOWN, "10.112.0.0/20"] },
      { pod: "shop/wide", destinations: ["10.0.0.0/8"] },
      { pod: "shop/plain" },
    ];
    assert.deepEqual(podsUnserved(pods, ["10.96.0.0/16"]), { pods: [], cidrs: [] });
    assert.deepEqual(podsUnserved(pods, ["10.96.0.0/16", "10.112.0.0/20"]), {
      pods: ["shop/b"],
      cidrs: ["10.112.0.0/20"],
    });
  });

  it("are none for a family that leaves through the default network whole, or has no way there", () => {
    const whole = { pod: "shop/a", destinations: [...KNOWN, "::/0"] };
    const none = { pod: "shop/b", destinations: KNOWN };
    assert.deepEqual(podsUnserved([whole, none], ["fd00:20::/112"]), { pods: [], cidrs: [] });
    const some = { pod: "shop/c", destinations: [...KNOWN, "fd00:10::/48"] };
    assert.deepEqual(podsUnserved([some], ["fd00:20::/112"]).pods, ["shop/c"]);
  });

  it("are named by ten, with how many more there are, and what to do", () => {
    const pods = Array.from({ length: 12 }, (_, i) => ({ pod: `shop/p${i + 10}`, destinations: KNOWN }));
    const text = unservedInWords(podsUnserved(pods, ["10.112.0.0/20"]));
    assert.match(text, /Services in 10\.112\.0\.0\/20: .*Delete these pods.*: shop\/p10, .*shop\/p19 and 2 more$/);
  });
});
