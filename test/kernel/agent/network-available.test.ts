/** The condition that cloud controllers set on new Nodes, and for which the scheduler keeps pods away. */
import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { Fabric, type TestNode } from "./harness.ts";

interface Condition {
  type: string;
  status: string;
  reason: string;
  message: string;
}

describe("the Node's condition NetworkUnavailable", function () {
  this.timeout(120_000);
  let fabric: Fabric;
  before(async () => {
    fabric = await Fabric.started();
  });
  after(() => fabric.stop());

  const set = async ({ name }: TestNode, ...conditions: Partial<Condition>[]): Promise<void> => {
    const path = `/api/v1/nodes/${name}/status`;
    await fabric.api("PATCH", path, { status: { conditions } }, "application/strategic-merge-patch+json");
  };
  const conditionsOf = async ({ name }: TestNode): Promise<Condition[]> => {
    const node = await fabric.api<{ status: { conditions?: Condition[] } }>("GET", `/api/v1/nodes/${name}`);
    return node.status.conditions ?? [];
  };
  const unavailable = async (node: TestNode): Promise<Condition | undefined> =>
    (await conditionsOf(node)).find(({ type }) => type === "NetworkUnavailable");
  const CLOUD = { type: "NetworkUnavailable", status: "True", reason: "NodeInitialization", message: "no route yet" };
  const READY = { type: "Ready", status: "False", reason: "KubeletNotReady", message: "cni plugin not initialized" };

  it("becomes False with its reason when the data path works, and no other condition changes", async () => {
    const n1 = fabric.node(1);
    // Without a pod CIDR there is no data path.
    await n1.register({ podCidrs: [] });
    await set(n1, CLOUD, READY);
    n1.start();
    await eventually(() => n1.log.includes("has no pod CIDR"), { timeoutMs: 60_000 });
    assert.equal((await unavailable(n1))?.status, "True");
    await fabric.patchNode("n1", { spec: { podCIDR: n1.podCidrs[0], podCIDRs: n1.podCidrs } });
    await n1.ready();
    const after = await eventually(
      async () => {
        const condition = await unavailable(n1);
        return condition?.status === "False" ? condition : undefined;
      },
      { timeoutMs: 60_000 },
    );
    assert.equal(after.reason, "SkylaneIsUp");
    assert.match(after.message, /data path works/);
    assert.deepEqual(
      (await conditionsOf(n1)).filter(({ type }) => type === "Ready").map(({ status, reason }) => [status, reason]),
      [["False", "KubeletNotReady"]],
    );
  });

  it("becomes False again when a controller sets it on a node that works", async () => {
    const [n1] = [fabric.node(2)];
    await n1.register();
    n1.start();
    await n1.ready(["n1"]);
    assert.equal(await unavailable(n1), undefined, "a Node without the condition gets none");
    await set(n1, CLOUD);
    await eventually(async () => (await unavailable(n1))?.status === "False", { timeoutMs: 30_000 });
    await set(n1, { ...CLOUD, status: "Unknown" });
    await eventually(async () => (await unavailable(n1))?.status === "False", { timeoutMs: 30_000 });
  });
});
