import assert from "node:assert/strict";
import { ComingPods } from "../../../src/egress/coming-pods.ts";
import type { EgressPod } from "../../../src/egress/selection.ts";

const pod = (name: string, ...ips: string[]): EgressPod => ({
  key: `shop/${name}`,
  namespace: "shop",
  labels: { app: name },
  node: "here",
  ips,
});
const [IP, IP6, OTHER] = ["10.0.0.1", "fd00::1", "10.0.0.2"] as const;

describe("pods that come to a node with egress gateways", () => {
  let coming: ComingPods;
  const together = (...heard: EgressPod[]): Record<string, readonly string[]> =>
    Object.fromEntries(coming.together(heard).map(({ key, ips }) => [key.slice("shop/".length), ips]));

  beforeEach(() => (coming = new ComingPods()));

  it("have their addresses before and after the API server tells of them", () => {
    coming.add("one", pod("a", IP, IP6));
    assert.deepEqual(together(), { a: [IP, IP6] }, "nothing was told of the pod");
    assert.deepEqual(together(pod("a")), { a: [IP, IP6] }, "nor of its addresses");
    assert.deepEqual(together(pod("a", IP6, IP)), { a: [IP6, IP] });
    assert.deepEqual(together(pod("a", IP)), { a: [IP] }, "from then on they are what it tells");
  });

  it("have those of their attachment where an older one's are told of", () => {
    coming.add("two", pod("a", OTHER));
    assert.deepEqual(together(pod("a", IP)), { a: [OTHER] });
  });

  it("take addresses from whom had them", () => {
    assert.deepEqual(
      together(pod("ends", IP), pod("b", IP)),
      { ends: [], b: [IP] },
      "the object of one that ended is there",
    );
    coming.add("one", pod("a", IP));
    assert.deepEqual(together(pod("b", IP, IP6)), { b: [IP6], a: [IP] });
    coming.add("two", pod("c", IP));
    assert.deepEqual(together(), { c: [IP] });
  });

  it("have none once the attachment has gone, or the pod", () => {
    coming.add("one", pod("a", IP));
    assert.equal(coming.gone("one"), true);
    assert.equal(coming.gone("one"), false);
    assert.deepEqual(together(pod("a")), { a: [] });
    coming.add("two", pod("b", IP));
    together(pod("b"));
    assert.deepEqual(together(), {}, "the API server has told of it, and does not any more");
  });
});
