/** One network that a node takes part in: what it follows, what it repairs, and what it answers to pods. */
import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { CniError, CODE } from "../../../src/cni/index.ts";
import { ipClaimsOf, NETWORK_BLOCKS, POD_NETWORKS } from "../../../src/crd/index.ts";
import { BlockError } from "../../../src/ipam/blocks/index.ts";
import { createObject, deleteObject, listObjects } from "../../../src/kube/index.ts";
import type { NetlinkEvent } from "../../../src/netlink/index.ts";
import { eventually } from "../../support/eventually.ts";
import { type AttachedPod, type FakeNamespace, InstancesHarness } from "./harness.ts";

interface Block {
  metadata: { name: string; uid: string; ownerReferences?: { uid: string }[] };
  spec: { cidr: string };
}

describe("a node's part in a pod network", function () {
  this.timeout(60_000);
  let harness: InstancesHarness;
  let namespace: FakeNamespace;
  beforeEach(async () => {
    harness = await InstancesHarness.start();
    harness.networks.start();
    harness.update();
    await eventually(() => harness.networks.defined.known);
  });
  afterEach(() => harness.close());

  /** A pod in a network that is defined so. */
  const joined = async (spec: Record<string, unknown> = {}): Promise<AttachedPod> => {
    await harness.define("blue", 7001, spec);
    await eventually(() => harness.networks.presence === "some" && (harness.networks.cidrs ?? []).length > 0);
    const pod = await harness.attach("blue");
    namespace = harness.namespace("blue");
    harness.since();
    return pod;
  };
  const change = async (spec: Record<string, unknown>): Promise<void> => {
    const path = `${POD_NETWORKS}/blue`;
    await harness.client.json({ method: "PATCH", path, contentType: "application/merge-patch+json", body: { spec } });
  };
  const blocks = async (): Promise<Block[]> => (await listObjects(harness.client, NETWORK_BLOCKS)) as Block[];
  const called = (call: string) => eventually(() => harness.calls.includes(call), { message: `no "${call}"` });
  const netconf = (ifindex: number) =>
    ({ event: "new", kind: "netconf", netconf: { ifindex } }) as unknown as NetlinkEvent;

  it("tells a pod why its network cannot serve it", async () => {
    const pod = await joined();
    const path = namespace.path ?? assert.fail("no data path");
    const refused = async (fault: Error, code: number, message: RegExp): Promise<void> => {
      path.linkFault = fault;
      await assert.rejects(
        harness.networks.linked(harness.linked(pod)),
        (error: unknown) => error instanceof CniError && error.code === code && message.test(error.message),
      );
    };
    await refused(new CniError(CODE.notAllowed, "its MAC address is another's"), CODE.notAllowed, /^its MAC address/);
    await refused(
      new BlockError("inUse", "the claim is in use"),
      CODE.tryAgain,
      /pod network "blue": the claim is in use/,
    );
    await refused(new Error("503"), CODE.tryAgain, /"blue": the other nodes cannot be told of this pod: 503/);
    // Of a network that this node has no part in there is nothing to wait for.
    await harness.networks.linked(harness.linked({ ...pod, network: "red" }));
  });

  it("gets and loses its uplink as the network is defined, and only behind its rules", async () => {
    harness.rulesNow = { ok: true, message: "in place" };
    await joined({ masquerade: true });
    // It was made before the first pod came.
    assert.equal(namespace.uplink?.hostIndex, 77);
    await change({ masquerade: false });
    await called("uplink: remove");
    assert.ok(harness.since().includes("rules: outside of nothing"));
    const rules = namespace.rules ?? assert.fail("no rules");
    rules.verdictNow = { ok: false, message: "being put in place" };
    await change({ masquerade: true });
    await called("rules: outside of 10.89.0.0/24");
    harness.since();
    namespace.path?.pass();
    await harness.networks.maintain();
    assert.equal(
      harness.calls.some((call) => call.startsWith("uplink")),
      false,
    );
    rules.verdictNow = { ok: true, message: "in place" };
    rules.applied();
    await called("uplink: mtu 1450");
  });

  it("repairs its uplink, says so, and goes on trying what it cannot", async () => {
    await joined({ masquerade: true });
    const uplink = namespace.uplink ?? assert.fail("no uplink");
    const said = (part: string) => harness.log.lines.filter((line) => line.includes(part)).length;
    uplink.wrong = ["a route"];
    harness.networks.onEvents([netconf(77)]);
    assert.equal(said("put the way of a pod network to the outside right"), 1);
    harness.networks.onEvents([netconf(78)]);
    uplink.fault = new Error("no memory");
    harness.networks.look();
    harness.networks.look();
    assert.equal(said("cannot be put right"), 1);
    uplink.fault = undefined;
    harness.networks.look();
    uplink.fault = new Error("no memory");
    harness.networks.look();
    assert.equal(said("cannot be put right"), 2);
  });

  it("puts its namespace's settings right where somebody changed them", async () => {
    await joined();
    const settled = () => harness.log.lines.filter((line) => line.includes("put a setting of sky-blue right")).length;
    const { netns } = namespace;
    assert.ok(netns);
    netns.wrong = ["net.ipv4.ip_forward 0 → 1"];
    for (const listener of namespace.listeners) listener.onEvents([netconf(3)]);
    assert.equal(settled(), 0, "what happens to single devices is for those who made them");
    for (const listener of namespace.listeners) listener.onEvents([netconf(-1)]);
    await eventually(() => settled() === 1);
    netns.wrong = ["set lo up"];
    for (const listener of namespace.listeners) listener.onResync("lost");
    await eventually(() => settled() === 2);
    netns.settle = () => {
      throw new Error("EROFS");
    };
    for (const listener of namespace.listeners) listener.onResync("lost");
    await eventually(() =>
      harness.log.lines.some((line) => /kernel parameters of a pod network's namespace/.test(line)),
    );
    await harness.networks.maintain();
    assert.ok(harness.log.lines.some((line) => /a pod network cannot be looked after/.test(line)));
  });

  it("claims back at once a block that somebody deleted", async () => {
    await joined();
    const [block] = await blocks();
    assert.ok(block);
    await deleteObject(harness.client, NETWORK_BLOCKS, block.metadata.name, block.metadata.uid);
    await eventually(async () => {
      const [now] = await blocks();
      return now !== undefined && now.metadata.uid !== block.metadata.uid;
    });
  });

  it("tries again to claim a block back, and says so once", async () => {
    await joined();
    const match = { resources: ["networkblocks"], verbs: ["create"] };
    await harness.api.faults.set({ rules: [{ match, times: 2, action: { kind: "status", code: 500 } }] });
    for (const { metadata } of await blocks())
      await deleteObject(harness.client, NETWORK_BLOCKS, metadata.name, metadata.uid);
    await eventually(async () => (await blocks()).length === 1);
    const said = harness.log.lines.filter((line) => line.includes("blocks of a network cannot be put back"));
    assert.equal(said.length, 1);
  });

  it("makes what it has in the API server go with its Node when that is registered again", async () => {
    await joined();
    const owners = async () => (await blocks())[0]?.metadata.ownerReferences?.map(({ uid }) => uid) ?? [];
    assert.deepEqual(await owners(), [harness.own.uid]);
    const match = { resources: ["networkblocks"], verbs: ["patch", "update", "get"] };
    await harness.api.faults.set({ rules: [{ match, times: 1, action: { kind: "status", code: 500 } }] });
    await harness.newNode();
    harness.update();
    assert.ok(harness.since().includes("path: adopt"));
    await eventually(async () => (await owners()).join() === harness.own.uid);
  });

  it("takes up what its pods may send from besides their addresses", async () => {
    await joined({ mode: "Bridged" });
    await change({ allowedAddresses: ["10.99.0.0/24"] });
    await called("path: refresh");
  });

  it("gives a pod on a bridge a MAC address that is this node's alone, and elsewhere any", async () => {
    await joined({ mode: "Bridged" });
    const { additional } = await harness.networks.prepare(await harness.request("blue"), harness.mounter);
    assert.match(additional[0]?.mac ?? "", /^([0-9a-f]{2}:){5}[0-9a-f]{2}$/);
    await harness.define("green", 7002);
    await eventually(() => harness.networks.cidrs?.includes("10.90.0.0/24"));
    const other = await harness.networks.prepare(await harness.request("green"), harness.mounter);
    assert.equal(other.additional[0]?.mac, undefined);
    assert.deepEqual(
      harness.networks
        .status()
        .map(({ network, mode }) => `${network} ${mode}`)
        .sort(),
      ["blue Bridged", "green Routed"],
    );
  });

  it("gives a pod the addresses of its claim", async () => {
    await joined();
    const claim = await createObject(harness.client, ipClaimsOf("default"), {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "IPClaim",
      metadata: { name: "db" },
      spec: { network: "blue" },
    });
    const { uid } = (claim as Block).metadata;
    const asks = JSON.stringify([{ name: "blue", claim: "db" }]);
    // An address that a pod has by what nodes publish is nobody's.
    namespace.path?.known.add("10.89.0.3");
    const { additional } = await harness.networks.prepare(await harness.request(asks), harness.mounter);
    assert.equal(additional[0]?.claim, `default/db/${uid}`);
    assert.match(additional[0]?.ips?.[0] ?? "", /^10\.89\.0\.\d+$/);
    assert.ok(additional[0]?.mac);
  });

  it("keeps its block in rounds of housekeeping while pods are in it", async () => {
    await joined();
    await harness.networks.maintain();
    assert.equal((await blocks()).length, 1);
    assert.ok(harness.since().includes("path: refresh"));
  });

  it("writes its published file anew where somebody changed it", async () => {
    await joined();
    rmSync(`${harness.config.runDir}/blue.json`);
    await harness.networks.maintain();
    await called("repaired /run/blue.json");
  });
});
