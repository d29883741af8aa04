/** The VNI of a cluster that was installed with another default, through upgrades node by node and nodes that come later. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { Fabric, type TestNode } from "./harness.ts";

describe("the default network's VNI where nothing is configured", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  beforeEach(async () => {
    fabric = await Fabric.started();
  });
  afterEach(() => fabric.stop());

  const vniOf = async (node: TestNode, peers: string[]): Promise<number | undefined> =>
    (await node.ready(peers)).networks[0]?.vni;
  const deviceOf = (node: TestNode): string => node.ns.exec("ip", "-o", "link", "show", "type", "vxlan");

  it("is one that Docker Swarm does not use in a new cluster, and pods of all nodes are reached", async () => {
    const nodes = [fabric.node(1), fabric.node(2)] as const;
    for (const node of nodes) {
      node.configure({ vni: "auto" });
      await node.register();
      node.start();
    }
    assert.equal(await vniOf(nodes[0], ["n2"]), 759);
    assert.equal(await vniOf(nodes[1], ["n1"]), 759);
    nodes[0].ns.exec("ping", "-c", "1", "-W", "5", "-I", "10.244.1.0", "10.244.2.0");
  });

  it("stays what a cluster has: over an upgrade, a reboot, and for nodes that come later", async () => {
    const [n1, n2] = await fabric.pair();
    const before = deviceOf(n1);
    await n1.stop();
    n1.configure({ vni: "auto" });
    n1.start();
    assert.equal(await vniOf(n1, ["n2"]), 4096);
    assert.equal(deviceOf(n1), before, "the device was made anew");
    // As after a boot: nothing in the kernel, and nothing under /run.
    await n1.stop();
    n1.ns.exec("ip", "link", "del", "sky.4096");
    rmSync(join(n1.dir, "run"), { recursive: true });
    n1.start();
    assert.equal(await vniOf(n1, ["n2"]), 4096);
    const n3 = fabric.node(3);
    n3.configure({ vni: "auto" });
    await n3.register();
    n3.start();
    assert.equal(await vniOf(n3, ["n1", "n2"]), 4096);
    await n2.ready(["n1", "n3"]);
    n3.ns.exec("ping", "-c", "1", "-W", "5", "-I", "10.244.3.0", "10.244.1.0");
  });

  it("may differ between nodes of one cluster, which reach each other all the same", async () => {
    const [n1, n2] = [fabric.node(1), fabric.node(2)];
    n2.configure({ vni: 759 });
    for (const node of [n1, n2]) {
      await node.register();
      node.start();
    }
    assert.equal(await vniOf(n1, ["n2"]), 4096);
    assert.equal(await vniOf(n2, ["n1"]), 759);
    n1.ns.exec("ping", "-c", "1", "-W", "5", "-I", "fd00:10:244:1::", "fd00:10:244:2::");
    n2.ns.exec("ping", "-c", "1", "-W", "5", "-I", "10.244.2.0", "10.244.1.0");
  });
});
