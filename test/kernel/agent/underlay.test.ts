import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { Fabric } from "./harness.ts";

describe("the underlay of agents", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  before(async () => {
    fabric = await Fabric.started();
  });
  after(() => fabric.stop());

  it("is IPv6 where the Nodes name such an address first: 20 bytes less, and both families inside", async () => {
    const nodes = [fabric.node(1), fabric.node(2)] as const;
    for (const node of nodes) {
      await node.register({ ips: node.ips.toReversed() });
      node.start();
    }
    const [n1, n2] = nodes;
    const status = await n1.ready(["n2"]);
    await n2.ready(["n1"]);
    assert.equal(status.networks[0]?.mtu, 1430);
    assert.equal(status.networks[0]?.underlayIp, "fd30::11");
    assert.ok(n1.entries().some((line) => line.includes("dst fd30::12")));
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-s", "1402", "-M", "do", "-I", "10.244.1.0", "10.244.2.0");
    n1.ns.exec("ping", "-c", "1", "-W", "2", "-s", "1382", "-M", "do", "-I", "fd00:10:244:1::", "fd00:10:244:2::");
    for (const node of nodes) {
      await node.stop();
      await fabric.deleteNode(node.name);
    }
  });

  it("is what the configuration selects, in place of the Node's address", async () => {
    const nodes = [fabric.node(3), fabric.node(4)] as const;
    const selections = [{ interface: "eth0" }, { canReach: "172.30.0.1" }];
    for (const [i, node] of nodes.entries()) {
      node.configure({ underlay: selections[i] });
      await node.register({ ips: ["203.0.113.7"] });
      node.start();
    }
    const [n3, n4] = nodes;
    await n3.ready(["n4"]);
    await n4.ready(["n3"]);
    n3.ns.exec("ping", "-c", "1", "-W", "2", "-I", "10.244.3.0", "10.244.4.0");

    // An address that goes and comes back is waited for, and nothing of the overlay goes with it.
    const before = n3.entries();
    n3.ns.exec("ip", "addr", "flush", "dev", "eth0");
    await eventually(() =>
      n3.log.includes("waiting: no address of this machine fits the configured underlay (interface eth0)"),
    );
    assert.deepEqual(n3.entries(), before);
    n3.ns.exec("ip", "addr", "add", "172.30.0.13/24", "dev", "eth0");
    await n3.ready(["n4"]);
    n3.ns.exec("ping", "-c", "3", "-i", "0.2", "-W", "2", "-I", "10.244.3.0", "10.244.4.0");
  });
});
