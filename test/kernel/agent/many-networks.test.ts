import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { eventually } from "../../support/eventually.ts";
import { Fabric, type TestNode } from "./harness.ts";

const NETWORKS = 5_000;
const MAX_GROWTH_MB = 20;
const PATH = "/apis/skylane.dev/v1alpha1/podnetworks";

describe("an agent that has no part in five thousand pod networks", function () {
  this.timeout(180_000);
  let fabric: Fabric;
  let node: TestNode;

  before(async () => {
    fabric = await Fabric.started();
    // The one that writes the status of all is another, as in a cluster nearly all are.
    await fabric.api("POST", "/apis/coordination.k8s.io/v1/namespaces/skylane-system/leases", {
      apiVersion: "coordination.k8s.io/v1",
      kind: "Lease",
      metadata: { name: "skylane-networks", namespace: "skylane-system" },
      spec: { holderIdentity: "another", leaseDurationSeconds: 3_600 },
    });
    node = fabric.node(1);
    await node.register();
    node.start();
    await node.ready();
  });
  after(() => fabric.stop());

  const megabytes = (): number => {
    const [, kilobytes] = /^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${node.pid}/status`, "utf8")) ?? [];
    return Number(kilobytes) / 1_024;
  };
  /** The least of ten seconds, in which what a burst of work has left is collected; at once when it is little enough. */
  async function settled(enough = 0): Promise<number> {
    let least = megabytes();
    for (let look = 0; look < 10 && least > enough; look++) {
      await delay(1_000);
      least = Math.min(least, megabytes());
    }
    return least;
  }
  const network = (n: number, name = `net-${n}`) => ({
    apiVersion: "skylane.dev/v1alpha1",
    kind: "PodNetwork",
    metadata: { name },
    spec: {
      vni: 10_000 + n,
      cidrs: [`10.${n >> 8}.${n & 255}.0/24`, `fd00:${n.toString(16)}::/64`],
      namespaceSelector: { matchLabels: { tenant: name } },
    },
  });

  it(`takes less than ${MAX_GROWTH_MB} MB for their definitions, and makes nothing of them`, async () => {
    const links = () => node.ns.json("ip", "-j", "link").length;
    const [before, devices] = [await settled(), links()];
    const networks = Array.from({ length: NETWORKS }, (_, n) => network(n));
    await fabric.create(PATH, networks);
    // That it knows of this one says that it knows of all.
    await fabric.create(PATH, [network(0, "twin")]);
    await eventually(() => node.log.includes("PodNetwork twin has VNI 10000"), { timeoutMs: 30_000 });
    const after = await settled(before + MAX_GROWTH_MB - 1);
    assert.ok(after - before < MAX_GROWTH_MB, `${before.toFixed(0)} MB became ${after.toFixed(0)} MB`);
    assert.equal(links(), devices);
    assert.ok((await node.status()).ready.ready);
    assert.equal((await node.status()).networks.length, 1);
  });
});
