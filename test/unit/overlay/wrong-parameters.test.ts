import assert from "node:assert/strict";
import { tellWrongParameters } from "../../../src/dataplane/vxlan/index.ts";
import type { NetlinkEvent } from "../../../src/netlink/index.ts";

describe("news of a VXLAN device's kernel parameters", () => {
  const device = { index: 7, name: "sky.1" };
  const about = (ifindex: number): NetlinkEvent => ({ event: "new", kind: "netconf", netconf: { family: 4, ifindex } });
  const gone = { netns: "/run/netns/skylane-there-is-none", ipv6: false };

  it("are looked into where they are of this very device", () => {
    assert.equal(tellWrongParameters([about(8), about(-1)], device, gone), false);
    assert.equal(tellWrongParameters([], device, gone), false);
  });

  it("count as bad where the parameters cannot be read, and end nothing: whoever repairs says why", () => {
    assert.equal(tellWrongParameters([about(7)], device, gone), true);
  });

  it("are no news of a device that has no such parameters, or is gone", () => {
    assert.equal(tellWrongParameters([about(7)], { index: 7, name: "sky.none" }, { ipv6: true }), false);
  });
});
