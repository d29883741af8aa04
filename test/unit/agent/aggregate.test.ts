import assert from "node:assert/strict";
import { aggregate } from "../../../src/firewall/aggregate.ts";

describe("prefixes put together", () => {
  it("are the fewest that cover the same", () => {
    const nodes = Array.from({ length: 256 }, (_, i) => `10.244.${i}.0/24`);
    assert.deepEqual(aggregate([...nodes.toReversed(), "fd00:1::/64", "fd00:1:0:1::/64"]), [
      "10.244.0.0/16",
      "fd00:1::/63",
    ]);
    assert.deepEqual(aggregate(["10.244.1.0/24", "10.244.2.0/24"]), ["10.244.1.0/24", "10.244.2.0/24"]);
    assert.deepEqual(aggregate(["10.244.0.0/16", "10.244.3.0/24", "10.244.0.0/16"]), ["10.244.0.0/16"]);
    assert.deepEqual(aggregate([]), []);
    assert.deepEqual(aggregate(["0.0.0.0/1", "128.0.0.0/1"]), ["0.0.0.0/0"]);
  });
});
