import assert from "node:assert/strict";
import { once } from "node:events";
import { attach, detach, testNode, testPod } from "./support.ts";

describe("making a pod's link while its host end is being repaired", function () {
  this.timeout(60_000);

  it("ends well: what the repair has put there already is what ADD wants", async () => {
    const node = testNode();
    const pod = testPod();
    // An agent that finds every half-made link broken, as on a node where an ADD takes longer than it believes possible.
    const attached = [{ containerId: pod.containerId, ifname: pod.ifname, addresses: pod.addresses }];
    const script = `
      import { Rtnl } from ${JSON.stringify(import.meta.resolve("../../../src/netlink/index.ts"))};
      import { repairHostEnds } from ${JSON.stringify(import.meta.resolve("../../../src/dataplane/pod-link/index.ts"))};
      using rtnl = Rtnl.open();
      let repairs = 0;
      for (let round = 0; ; round++) {
        try { repairs += repairHostEnds(rtnl, ${JSON.stringify(attached)}).done.length; } catch {}
        if (round === 0) process.stdout.write("ready");
        if (repairs > 0) { process.stdout.write("."); repairs = 0; }
      }`;
    const repairer = node.spawn(
      process.execPath,
      ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", script],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    try {
      const repairs: Buffer[] = [];
      assert.ok(repairer.stdout);
      await once(repairer.stdout, "data");
      repairer.stdout.on("data", (dots: Buffer) => repairs.push(dots));
      for (let round = 0; round < 100 && (round < 10 || repairs.length === 0); round++) {
        const { addresses } = attach(node, pod);
        assert.deepEqual(addresses, pod.addresses);
        detach(node, pod);
        await new Promise((resolve) => setImmediate(resolve));
      }
      assert.ok(repairs.length > 0, "the repair never met a link in the making");
    } finally {
      const ended = once(repairer, "exit");
      repairer.kill("SIGKILL");
      await ended;
    }
  });
});
