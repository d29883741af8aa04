import assert from "node:assert/strict";
import { mergeAnnotation } from "../../../src/agent/publish.ts";
import { parseVtepAnnotation } from "../../../src/overlay/annotation.ts";

describe("the annotation", () => {
  const entry = { vni: 4096, mac: "02:00:00:00:00:01", ips: ["172.30.0.11"], podCidrs: ["10.244.1.0/24"], port: 4789 };

  it("keeps the entries of other pod networks", () => {
    const one = mergeAnnotation(undefined, "default", entry) as string;
    const both = mergeAnnotation(one, "blue", { ...entry, vni: 7 }) as string;
    assert.deepEqual([...parseVtepAnnotation(both).keys()].sort(), ["blue", "default"]);
    const again = mergeAnnotation(both, "default", { ...entry, port: 8472 }) as string;
    assert.equal(parseVtepAnnotation(again).get("blue")?.vni, 7);
    assert.equal(parseVtepAnnotation(again).get("default")?.port, 8472);
    assert.deepEqual([...parseVtepAnnotation(mergeAnnotation(again, "default", undefined) as string).keys()], ["blue"]);
  });

  it("goes with its last entry, and replaces what nobody can read", () => {
    assert.equal(mergeAnnotation(mergeAnnotation(undefined, "default", entry), "default", undefined), undefined);
    assert.equal(mergeAnnotation("garbage", "default", entry), mergeAnnotation(undefined, "default", entry));
  });
});
