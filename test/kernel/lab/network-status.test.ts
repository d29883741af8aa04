import assert from "node:assert/strict";
import { join } from "node:path";
import { findBinDir } from "../../../lab/cluster/context.ts";
import { NETWORKS_ANNOTATION } from "../../../src/crd/index.ts";
import { eventually } from "../../support/eventually.ts";
import { useLab } from "./support.ts";

interface Network {
  metadata: { name: string; labels?: Record<string, string> };
  spec: { vni: number; cidrs: string[] };
  status?: { nodes?: number; conditions?: { type: string; status: string; reason: string; message: string }[] };
}

/** A candidate looks every ten seconds or so. */
const SOON = { timeoutMs: 45_000 };

describe("the status of pod networks in a cluster", function () {
  this.timeout(90_000);
  const the = useLab({ nodes: 2 });
  const get = (name: string): Promise<Network> =>
    the().api.call("GET", `/apis/skylane.dev/v1alpha1/podnetworks/${name}`);
  const ready = async (name: string) => (await get(name)).status?.conditions?.find(({ type }) => type === "Ready");

  it("shows the default network, with both nodes in it", async () => {
    await eventually(async () => (await get("default")).status?.nodes === 2, SOON);
    const { metadata, spec } = await get("default");
    assert.equal(metadata.labels?.["app.kubernetes.io/managed-by"], "skylane");
    assert.deepEqual(spec.cidrs.length, 2);
    assert.equal(spec.vni, the().context.record.vni);
    assert.equal((await ready("default"))?.status, "True");
  });

  it("says of two networks with one VNI which one has it, and how many nodes are in it", async () => {
    await the().addNetwork("blue", { cidrs: ["10.50.0.0/16"], vni: 5000 });
    await the().addNetwork("twin", { cidrs: ["10.51.0.0/16"], vni: 5000 });
    await the().addPod("node1", "blue1", { annotations: { [NETWORKS_ANNOTATION]: "blue" } });
    await eventually(async () => (await ready("twin"))?.status === "False", SOON);
    const twin = (await get("twin")).status?.conditions ?? [];
    assert.deepEqual(
      twin.map(({ type, status, reason }) => `${type} ${status} ${reason}`),
      ["Ready False VniTaken", "Conflict True VniTaken"],
    );
    assert.match(twin[0]?.message ?? "", /network blue/);
    await eventually(async () => (await get("blue")).status?.nodes === 1, SOON);
    assert.equal((await ready("blue"))?.status, "True");
    assert.equal((await get("twin")).status?.nodes, 0);
    const told = await the().exec("node1", join(findBinDir(), "skylanectl"), "status");
    assert.match(told, /^blue +5000 +Routed +0\/0 +yes +-$/m);
  });

  it("is kept by another agent when the one that did it ends", async () => {
    const holderIdentity = async (): Promise<string> => {
      const path = "/apis/coordination.k8s.io/v1/namespaces/skylane-system/leases/skylane-networks";
      return (await the().api.call<{ spec: { holderIdentity: string } }>("GET", path)).spec.holderIdentity;
    };
    const former = await holderIdentity();
    const [holder = ""] = former.split("_");
    const other = holder === "node1" ? "node2" : "node1";
    await the().exec(holder, "pkill", "-TERM", "-f", "skylane-agent.cjs");
    await the().addPod(other, "late", { annotations: { [NETWORKS_ANNOTATION]: "blue" } });
    await eventually(async () => (await get("blue")).status?.nodes === (other === "node1" ? 1 : 2), SOON);
    await the().addNetwork("red", { cidrs: ["10.52.0.0/16"] });
    await eventually(async () => (await ready("red"))?.status === "True", SOON);
    assert.notEqual(await holderIdentity(), former);
  });
});
