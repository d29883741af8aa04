import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { type NetlinkEvent, Monitor, Rtnl } from "../../../src/netlink/index.ts";
import { eventually } from "../../support/eventually.ts";
import { testNamespace } from "../support/netns.ts";

describe("watching many namespaces", function () {
  this.timeout(60_000);

  it("takes no thread for each, loses nothing and tells each what is its own", async () => {
    const namespaces = Array.from({ length: 24 }, (_, n) => testNamespace(`many${n}`));
    const seen = namespaces.map((): NetlinkEvent[] => []);
    const monitors = namespaces.map(({ path }, n) =>
      Monitor.open({
        netns: path,
        kinds: ["address"],
        onEvents: (events) => void seen[n]?.push(...events),
        onResync: (reason) => assert.fail(reason),
      }),
    );
    try {
      for (let round = 0; round < 5; round++) {
        for (const [n, { path }] of namespaces.entries()) {
          using rtnl = Rtnl.open({ netns: path });
          rtnl.execute({
            op: "replace",
            kind: "address",
            address: { ifindex: 1, ip: `10.${n}.0.${round + 1}`, prefix: 32 },
          });
        }
        await new Promise(setImmediate);
      }
      await eventually(() => seen.every((events) => events.length >= 5));
      for (const [n, events] of seen.entries()) {
        const ips = events.map((event) => (event.kind === "address" ? event.address.ip : event.kind));
        assert.deepEqual(
          ips,
          [1, 2, 3, 4, 5].map((last) => `10.${n}.0.${last}`),
        );
      }
    } finally {
      await Promise.all(monitors.map((monitor) => monitor.close()));
    }
  });

  it("keeps no process running, and ends none when its last watcher has closed", () => {
    const ns = testNamespace("ends");
    const script = `
      import { Monitor, Rtnl } from "./src/netlink/index.ts";
      const monitor = Monitor.open({ netns: ${JSON.stringify(ns.path)}, kinds: ["address"], onEvents() {}, onResync() {} });
      await monitor.close();
      process.kill(process.pid, "SIGIO");
      Monitor.open({ netns: ${JSON.stringify(ns.path)}, kinds: ["address"], onEvents() {}, onResync() {} });
      console.log("done");`;
    const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
      encoding: "utf8",
      timeout: 20_000,
    });
    assert.deepEqual([status, stdout], [0, "done\n"], stderr);
  });
});
