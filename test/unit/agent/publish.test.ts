import assert from "node:assert/strict";
import { mergeAnnotation } from "../../../src/nodes/publish.ts";
import { parseVtepAnnotation } from "../../../src/peers/annotation.ts";

describe("the annotation", () => {
  const entry = { vni: 4096, mac: "02:00:00:00:00:01", ips: ["172.30.0.11"], podCidrs: ["10.244.1.0/24"], port: 4789 };

  const say = (network: string, value: typeof entry | undefined) => new Map([[network, value]]);

  it("keeps the entries of other pod networks", () => {
    const one = mergeAnnotation(undefined, say("default", entry));
    const both = mergeAnnotation(one, say("blue", { ...entry, vni: 7 }));
    assert.deepEqual([...parseVtepAnnotation(both).keys()].sort(), ["blue", "default"]);
    const again = mergeAnnotation(both, say("default", { ...entry, port: 8472 }));
    assert.equal(parseVtepAnnotation(again).get("blue")?.vni, 7);
    assert.equal(parseVtepAnnotation(again).get("default")?.port, 8472);
    assert.deepEqual([...parseVtepAnnotation(mergeAnnotation(again, say("default", undefined))).keys()], ["blue"]);
  });

  it("says all that there is to say at once", () => {
    const text = mergeAnnotation(
      mergeAnnotation(undefined, say("red", entry)),
      new Map([
        ["default", entry],
        ["blue", { ...entry, vni: 7 }],
        ["red", undefined],
      ]),
    );
    assert.deepEqual([...parseVtepAnnotation(text).keys()].sort(), ["blue", "default"]);
  });

  it("replaces what nobody can read", () => {
    assert.equal(mergeAnnotation("garbage", say("default", entry)), mergeAnnotation(undefined, say("default", entry)));
  });
});
