import assert from "node:assert/strict";
import { readlinkSync } from "node:fs";
import { Rtnl } from "../../../src/netlink/index.ts";
import { closeFd, Echo, newNetns, withNetns } from "../../../src/sys/index.ts";
import { type TestNamespace, testNamespace } from "../support/netns.ts";

describe("ICMP echo", () => {
  let near: TestNamespace;
  let far: TestNamespace;
  before(() => {
    near = testNamespace("near");
    far = testNamespace("far");
    near.exec("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", far.name);
    for (const [ns, host] of [
      [near, 1],
      [far, 2],
    ] as const) {
      ns.exec("ip", "addr", "add", `192.0.2.${host}/24`, "dev", "eth0");
      ns.exec("ip", "addr", "add", `2001:db8::${host}/64`, "dev", "eth0", "nodad");
      ns.exec("ip", "link", "set", "eth0", "up");
    }
  });

  for (const [family, to] of [
    [4, "192.0.2.2"],
    [6, "2001:db8::2"],
  ] as const) {
    it(`knows each answer by its request, IPv${family}`, async () => {
      await using echo = withNetns(near.path, () => Echo.open(family));
      const sizes = [undefined, 100, 1280, 1500];
      const answers = await Promise.all(
        Array.from({ length: 40 }, (_, i) => {
          const size = sizes[i % sizes.length];
          const nobody = i % 8 === 7;
          const host = nobody ? to.replace(/2$/, "9") : to;
          return echo.ask({ to: host, timeoutMs: nobody ? 300 : 5_000, ...(size === undefined ? {} : { size }) });
        }),
      );
      assert.deepEqual(
        answers.map(({ answered }) => answered),
        answers.map((_, i) => i % 8 !== 7),
      );
    });

    it(`says at once what the device does not carry, and hears nothing of what the path loses, IPv${family}`, async () => {
      await using echo = withNetns(near.path, () => Echo.open(family));
      const wide = await echo.ask({ to, size: 1501, timeoutMs: 5_000 });
      assert.ok(!wide.answered);
      assert.equal(wide.error?.code, "EMSGSIZE");
      far.exec("ip", "link", "set", "eth0", "mtu", "1280");
      try {
        // a veth pair tells the sender that its end dropped the packet, which the kernel passes on for IPv6
        assert.equal((await echo.ask({ to, size: 1400, timeoutMs: 300 })).answered, false);
        assert.equal((await echo.ask({ to, size: 1280, timeoutMs: 5_000 })).answered, true);
      } finally {
        far.exec("ip", "link", "set", "eth0", "mtu", "1500");
      }
    });
  }

  it("refuses an address of the other family", async () => {
    await using echo = withNetns(near.path, () => Echo.open(4));
    assert.throws(() => echo.ask({ to: "2001:db8::2", timeoutMs: 1 }), RangeError);
  });
});

describe("a network namespace to try things in", () => {
  it("is another than the process's own, which stays, and empty", () => {
    const own = readlinkSync("/proc/thread-self/ns/net");
    const netns = newNetns();
    try {
      assert.equal(readlinkSync("/proc/thread-self/ns/net"), own);
      assert.notEqual(readlinkSync(`/proc/self/fd/${netns}`), own);
      using rtnl = Rtnl.open({ netns });
      rtnl.execute({ op: "add", kind: "link", link: { kind: "bridge", name: "trial" } });
      assert.ok(rtnl.link("trial"));
    } finally {
      closeFd(netns);
    }
    using here = Rtnl.open();
    assert.equal(here.link("trial"), undefined);
  });
});
