import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { eventually } from "../../support/eventually.ts";
import { Fabric } from "./harness.ts";

describe("the agent", function () {
  this.timeout(60_000);
  let fabric: Fabric;
  before(async () => {
    fabric = await Fabric.started();
  });
  after(() => fabric.stop());

  it("waits for its Node, its pod CIDR and its address, saying so once each, and then works", async () => {
    const n1 = fabric.node(1);
    n1.start();
    await eventually(() => n1.log.includes("waiting: there is no Node n1"), { timeoutMs: 30_000 });
    await fabric.createNode("n1", [], []);
    await eventually(() => n1.log.includes("waiting: Node n1 has no pod CIDR"));
    assert.equal((await n1.get("/readyz")).status, 503);
    await fabric.patchNode("n1", { spec: { podCIDR: n1.podCidrs[0], podCIDRs: n1.podCidrs } });
    await eventually(() => n1.log.includes("waiting: the Node has no InternalIP"));
    assert.equal(existsSync(n1.conflist), false);
    assert.equal(existsSync(n1.published), false);
    await fabric.setAddresses("n1", n1.ips);
    const status = await n1.ready();
    assert.equal(status.networks[0]?.mtu, 1450);
    assert.equal(n1.log.match(/waiting: there is no Node/g)?.length, 1);
    const reasons = await eventually(async () => {
      const found = (await fabric.events()).map(({ reason }) => reason);
      return found.length >= 3 ? found : undefined;
    });
    for (const reason of ["SkylaneWaitingForNode", "SkylaneWaitingForPodCIDR", "SkylaneWaitingForUnderlay"])
      assert.ok(reasons.includes(reason), reason);
    assert.equal(JSON.parse(readFileSync(n1.published, "utf8")).podCidrs[0], "10.244.1.0/24");
    assert.equal(JSON.parse(readFileSync(n1.conflist, "utf8")).plugins[0].type, "skylane");
    assert.equal(JSON.parse((await fabric.vtepOf("n1")) as string).default.ips[0], "172.30.0.11");
    assert.deepEqual((await n1.stop()).status, 0);
  });
});
