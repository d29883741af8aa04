import assert from "node:assert/strict";
import { EventWait, Rtnl } from "../../../src/netlink/index.ts";
import { testNamespace } from "../support/netns.ts";

describe("waiting for a notification", () => {
  const namespace = testNamespace("wait");

  it("sees what happened between opening and asking, and what the kernel's workers do later", () => {
    using rtnl = Rtnl.open({ netns: namespace.path });
    rtnl.execute({ op: "add", kind: "link", link: { kind: "bridge", name: "br0" } });
    const ifindex = rtnl.link("br0")?.index as number;
    rtnl.execute({ op: "set", kind: "link", link: { index: ifindex, up: true } });
    using wait = EventWait.open({ netns: namespace.path, kinds: ["address", "route"] });
    rtnl.execute({ op: "add", kind: "address", address: { ifindex, ip: "fd00::5", prefix: 128, nodad: true } });
    assert.ok(wait.until((event) => event.kind === "address" && event.address.ip === "fd00::5", 5_000));
    assert.ok(wait.until((event) => event.kind === "route" && event.route.type === 2, 5_000));
  });

  it("ends when the time is over", () => {
    using wait = EventWait.open({ netns: namespace.path, kinds: ["link"] });
    for (const timeoutMs of [0, 1, 30])
      assert.equal(
        wait.until(() => true, timeoutMs),
        false,
      );
  });

  it("gives up when notifications were lost", () => {
    using rtnl = Rtnl.open({ netns: namespace.path });
    using wait = EventWait.open({ netns: namespace.path, kinds: ["neighbour"] });
    const ifindex = rtnl.link("br0")?.index as number;
    const neighbours = [...Array(4_000).keys()].map((n) => ({
      ip: `10.9.${n >> 8}.${n & 255}`,
      mac: "02:00:00:00:00:01",
    }));
    rtnl.executeAll(
      neighbours.map((neighbour) => ({ op: "add", kind: "neighbour", neighbour: { ifindex, ...neighbour } })),
    );
    assert.equal(
      wait.until(() => false, 5_000),
      false,
    );
  });
});
