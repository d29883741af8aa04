/** A node's parts in pod networks: joined with the first pod, left with the last, found again after a start. */
import assert from "node:assert/strict";
import { existsSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { NETWORK_BLOCKS, NETWORK_ENDPOINTS, POD_NETWORKS } from "../../../src/crd/index.ts";
import { CniError, CODE } from "../../../src/cni/index.ts";
import { createObject, deleteObject, getObject, listObjects } from "../../../src/kube/index.ts";
import { netnsIdentity } from "../../../src/sys/index.ts";
import { linkOf } from "../../support/link.ts";
import { eventually } from "../../support/eventually.ts";
import { otherNode } from "../network/harness.ts";
import { InstancesHarness, NODE } from "./harness.ts";

interface Block {
  metadata: { name: string; uid: string };
  spec: { node?: string; cidr: string };
}

describe("the pod networks of a node", function () {
  this.timeout(60_000);
  let harness: InstancesHarness;
  beforeEach(async () => (harness = await InstancesHarness.start()));
  afterEach(() => harness.close());

  const started = async (live = true): Promise<void> => {
    harness.networks.start();
    harness.update([], live);
    await eventually(() => harness.networks.defined.known);
  };
  /** A network that pods may come to. */
  const defined = async (name: string, vni: number, spec: Record<string, unknown> = {}): Promise<string> => {
    const uid = await harness.define(name, vni, spec);
    await eventually(
      () => harness.networks.presence === "some" && harness.networks.cidrs?.includes(`10.${vni % 256}.0.0/24`),
    );
    return uid;
  };
  const blocks = async (): Promise<Block[]> => (await listObjects(harness.client, NETWORK_BLOCKS)) as Block[];
  const finalizers = async (name: string): Promise<string[]> => {
    const object = (await getObject(harness.client, POD_NETWORKS, name)) as { metadata: { finalizers?: string[] } };
    return object.metadata.finalizers ?? [];
  };
  const published = (name: string): string => join(harness.config.runDir, `${name}.json`);

  it("are joined by the first pod, in order, and by no second one", async () => {
    await started();
    await defined("blue", 7001);
    const pod = await harness.attach("blue");
    assert.deepEqual(harness.since(), [
      "named sky-blue",
      "policies: join blue",
      "rules: set",
      "path: peers",
      "path: start",
      // One may be there from before, if masquerade was switched off while no agent ran.
      "uplink: remove",
      `path: linked ${pod.containerId}`,
    ]);
    assert.deepEqual(
      (await blocks()).map(({ spec }) => spec.node),
      [NODE],
    );
    assert.deepEqual(await finalizers("blue"), ["skylane.dev/pods"]);
    const text = JSON.parse(readFileSync(published("blue"), "utf8")) as Record<string, unknown>;
    assert.equal(text["hostNetns"], "/nowhere/netns/sky-blue");
    assert.deepEqual(
      text["podCidrs"],
      (await blocks()).map(({ spec }) => spec.cidr),
    );
    assert.equal(harness.networks.entries.get("blue")?.vni, 7001);
    const second = await harness.attach("blue");
    assert.deepEqual(harness.since(), [`path: linked ${second.containerId}`]);
    await harness.detach(second);
    assert.deepEqual(harness.since(), ["path: refresh"]);
    assert.equal((await blocks()).length, 1);
  });

  it("are left with their last pod, and nothing stays of them", async () => {
    await started();
    await defined("blue", 7001);
    const pod = await harness.attach("blue");
    const namespace = harness.namespace("blue");
    harness.since();
    await harness.detach(pod);
    assert.deepEqual(harness.since(), [
      "path: refresh",
      "policies: leave",
      "path: stop",
      "uplink: remove",
      "rules: remove",
      "deleted sky.7001",
      "path: leave",
      "unnamed sky-blue",
    ]);
    assert.deepEqual(await blocks(), []);
    assert.deepEqual(await finalizers("blue"), []);
    assert.equal(existsSync(published("blue")), false);
    assert.deepEqual(
      namespace.links.map(({ name }) => name),
      ["lo"],
    );
    // The other nodes hear that it is gone.
    assert.deepEqual([...harness.networks.entries], [["blue", undefined]]);
    await harness.attach("blue");
    assert.equal(harness.networks.entries.get("blue")?.vni, 7001);
  });

  it("are joined and left one at a time", async () => {
    await started();
    await defined("blue", 7001);
    const pod = await harness.attach("blue");
    harness.since();
    // The network is left only once its block is given back, which takes a while.
    const match = { resources: ["networkblocks"], verbs: ["delete"] };
    await harness.api.faults.set({ rules: [{ match, action: { kind: "delay", ms: 300 } }] });
    const stored = (): number => harness.api.store.list(harness.api.type("networkblocks")).length;
    const atJoin: number[] = [];
    harness.onJoin = () => void atJoin.push(stored());
    const request = await harness.request("blue");
    const left = harness.detach(pod);
    const joined = harness.networks.prepare(request, harness.mounter);
    await left;
    // The pod that went last, and one that comes while that is taken back.
    const leftAgain = harness.networks.leaveIfEmpty("blue", undefined);
    await Promise.all([joined, leftAgain]);
    assert.deepEqual(atJoin, [0], "joined while the blocks of before were there still");
  });

  it("are named with the next request where that failed, and unnamed later where nobody could", async () => {
    await started();
    await defined("blue", 7001);
    const request = await harness.request("blue");
    const broken = { ...harness.mounter, hold: () => Promise.reject(new Error("no launcher")) };
    await assert.rejects(harness.networks.prepare(request, broken), /no launcher/);
    const pod = await harness.attach("blue");
    const deaf = { ...harness.mounter, release: () => Promise.reject(new Error("no launcher")) };
    harness.forget(pod);
    await harness.networks.leaveIfEmpty("blue", deaf);
    assert.ok(harness.named.has("blue"));
    assert.ok(harness.log.lines.includes("warn: the name of a network's namespace is left"));
    await defined("green", 7002);
    await harness.attach("green");
    assert.deepEqual([...harness.named], ["green"]);
  });

  it("are not joined for who is refused, nor kept for who does not come", async () => {
    await started();
    await defined("blue", 7001);
    const unknown = await harness.request("red");
    await assert.rejects(harness.networks.prepare(unknown, harness.mounter), /there is no PodNetwork "red"/);
    await defined("closed", 7003, { namespaceSelector: { matchLabels: { team: "a" } } });
    const closed = await harness.request("closed");
    await assert.rejects(harness.networks.prepare(closed, harness.mounter), (error: unknown) => {
      return error instanceof CniError && error.code === CODE.notAllowed && /may not attach/.test(error.message);
    });
    assert.deepEqual(harness.since(), []);
    // The API server takes no block: the network is left at once.
    const match = { resources: ["networkblocks"], verbs: ["create"] };
    await harness.api.faults.set({ rules: [{ match, action: { kind: "status", code: 403 } }] });
    await assert.rejects(harness.networks.prepare(await harness.request("blue"), harness.mounter));
    await harness.api.faults.set({ rules: [] });
    assert.ok(harness.since().includes("policies: leave"));
    // One that was joined, and whose pod did not come then.
    await harness.networks.prepare(await harness.request("blue"), harness.mounter);
    assert.equal((await blocks()).length, 1);
    await harness.networks.leaveEmpty();
    assert.deepEqual(await blocks(), []);
  });

  it("that take longer than a request waits are there for the next one, or go where none comes", async () => {
    await harness.networks.stop();
    harness.readyMs = 1_000;
    harness.rulesNow = { ok: false, message: "the rules are being made" };
    harness.networks = harness.agent();
    await started();
    await defined("blue", 7001);
    const request = await harness.request("blue");
    const late = () =>
      assert.rejects(harness.networks.prepare(request, harness.mounter), /is not ready on this node yet/);
    await late();
    const [block] = await blocks();
    harness.since();
    await late();
    assert.deepEqual(
      harness.since().filter((call) => /leave|join/.test(call)),
      [],
      "begun anew",
    );
    assert.deepEqual(await blocks(), [block]);
    const { rules } = harness.namespace("blue");
    assert.ok(rules);
    rules.verdictNow = { ok: true, message: "in place" };
    rules.applied();
    await harness.networks.prepare(request, harness.mounter);
    await harness.networks.leaveEmpty();
    assert.deepEqual(await blocks(), []);
  });

  it("are gone on with after a start, by what is written down", async () => {
    await started();
    await defined("blue", 7001);
    const pod = await harness.attach("blue");
    await harness.networks.stop();
    harness.since();
    harness.networks = harness.agent();
    assert.deepEqual(harness.networks.recorded, ["blue"]);
    harness.networks.start();
    // The API server has not answered yet, and the network is what it was.
    harness.update();
    await eventually(() => harness.calls.includes("path: start"));
    await eventually(() => harness.networks.entries.get("blue") !== undefined);
    assert.equal((await blocks()).length, 1);
    await harness.detach(pod);
    assert.deepEqual(await blocks(), []);
    await harness.networks.leaveIfEmpty("blue", harness.mounter);
  });

  it("are gone on with under pods whose records are lost, and not once their namespace is gone", async () => {
    await started();
    await defined("blue", 7001);
    await harness.attach("blue");
    await harness.networks.stop();
    rmSync(join(harness.config.dataDir, "attachments"), { recursive: true });
    harness.networks = harness.agent();
    await started();
    await eventually(() => harness.networks.entries.get("blue") !== undefined);
    await harness.networks.stop();
    // The node has booted.
    harness.named.clear();
    harness.namespace("blue").links = [linkOf(1, "lo", { loopback: true })];
    harness.networks = harness.agent();
    await started();
    await eventually(async () => (await blocks()).length === 0, { message: "its block is kept" });
  });

  it("are taken away where their last pod went unnoticed", async () => {
    await started();
    await defined("blue", 7001);
    const pod = await harness.attach("blue");
    await harness.networks.stop();
    harness.forget(pod);
    await createObject(harness.client, NETWORK_ENDPOINTS, {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "NetworkEndpoints",
      metadata: { name: `blue.${NODE}`, labels: { "skylane.dev/network": "blue", "skylane.dev/node": NODE } },
      spec: { network: "blue", node: NODE, endpoints: [] },
    });
    harness.own = { ...harness.own, vtepAnnotation: JSON.stringify({ default: {}, old: {} }) };
    harness.since();
    harness.networks = harness.agent();
    await started();
    await eventually(async () => (await blocks()).length === 0);
    await eventually(() => !existsSync(published("blue")));
    assert.deepEqual(await listObjects(harness.client, NETWORK_ENDPOINTS), []);
    assert.ok(harness.since().includes("deleted sky.7001"));
    assert.ok(harness.log.lines.includes("info: took away what was left of a network without pods on this node"));
    await eventually(() => harness.networks.entries.has("old"));
    // Its name goes with the next request.
    await harness.networks.prepare(await harness.request("default"), harness.mounter).catch(() => undefined);
    assert.deepEqual([...harness.named], []);
  });

  it("are tidied up once the API server lets that happen", async () => {
    await started();
    await defined("blue", 7001);
    const pod = await harness.attach("blue");
    await harness.networks.stop();
    harness.forget(pod);
    const match = { resources: ["networkblocks"], verbs: ["delete"] };
    await harness.api.faults.set({ rules: [{ match, times: 1, action: { kind: "status", code: 500 } }] });
    harness.networks = harness.agent();
    await started();
    await eventually(() => harness.log.lines.some((line) => /cannot be taken away; it is tried again/.test(line)));
    await harness.networks.leaveEmpty();
    assert.deepEqual(await blocks(), []);
  });

  it("of a name keep their pods when they are defined anew, and take no others", async () => {
    await started();
    await defined("blue", 7001);
    const pod = await harness.attach("blue");
    const path = `${POD_NETWORKS}/blue`;
    const body = { metadata: { finalizers: null } };
    await harness.client.json({ method: "PATCH", path, contentType: "application/merge-patch+json", body });
    const { metadata } = (await getObject(harness.client, POD_NETWORKS, "blue")) as Block;
    await deleteObject(harness.client, POD_NETWORKS, "blue", metadata.uid);
    await eventually(() => harness.networks.cidrs?.length === 0);
    await defined("blue", 7009);
    await assert.rejects(
      harness.attach("blue"),
      /PodNetwork "blue" was deleted and made anew, and this node still has pods of the one before/,
    );
    await harness.detach(pod);
    await harness.attach("blue");
    assert.equal(harness.networks.entries.get("blue")?.vni, 7009);
  });

  it("cannot be joined before the API server has answered, nor without a Node", async () => {
    harness.networks.start();
    await harness.define("blue", 7001);
    await eventually(() => harness.networks.presence === "some");
    const request = await harness.request("blue");
    await assert.rejects(harness.networks.prepare(request, harness.mounter), /before the API server has answered/);
    const { uid: _gone, ...nodeless } = harness.own;
    harness.networks.update({ own: nodeless, nodes: [] }, true, new Map());
    await assert.rejects(harness.networks.prepare(request, harness.mounter), /while there is no Node n11/);
  });

  it("say whether a pod could come", async () => {
    await started();
    assert.throws(() => harness.networks.joinable("blue"), /not known yet|no PodNetwork "blue"/);
    await defined("blue", 7001);
    assert.equal(harness.networks.joinable("blue"), "not joined");
    assert.equal(harness.networks.joinable("default"), "joined");
    await harness.attach("blue");
    assert.equal(harness.networks.joinable("blue"), "joined");
    harness.away = "connection refused";
    assert.throws(() => harness.networks.joinable("blue"), /pods cannot come to network "blue": connection refused/);
  });

  it("are asked about by namespace, by address and for their status", async () => {
    await started();
    await defined("blue", 7001);
    await harness.attach("blue");
    const { networks } = harness;
    const namespace = harness.namespace("blue");
    assert.equal(networks.linksAt("/nowhere/netns/sky-blue")?.rtnl, namespace.rtnl);
    assert.equal(networks.linksAt("/nowhere/netns/sky-red"), undefined);
    assert.equal(networks.owns(netnsIdentity("/proc/thread-self/ns/net")), true);
    assert.equal(networks.owns({ dev: 0, ino: 0 }), false);
    namespace.path?.known.add("10.89.0.7");
    assert.equal(networks.uses("blue", "10.89.0.7"), true);
    assert.equal(networks.uses("blue", "10.89.0.8"), false);
    assert.equal(networks.uses("red", "10.89.0.7"), false);
    assert.deepEqual(
      networks.status().map(({ network, mode, ready }) => ({ network, mode, ready })),
      [{ network: "blue", mode: "Routed", ready: true }],
    );
    assert.deepEqual(networks.contested, []);
    harness.metrics.beforeScrape(() => networks.sample());
    assert.match(await harness.metrics.text(), /skylane_peers{network="blue"} 0/);
    const info = { name: "lan", directRouting: "auto" } as Parameters<typeof networks.unserved>[0];
    assert.equal(networks.unserved(info)?.reason, "Unserved");
    networks.vniKnown(7001);
    await assert.rejects(harness.attach("blue"), /VNI/);
  });

  it("have as peers the nodes that have blocks there", async () => {
    await started();
    await defined("blue", 7001);
    await harness.attach("blue");
    const path = harness.namespace("blue").path ?? assert.fail("no data path");
    const peer = otherNode(12, "blue", { vni: 7001, podCidrs: ["10.89.0.128/28"] });
    // Its annotation comes before its block does.
    harness.update([peer]);
    assert.deepEqual([...path.peers], []);
    const spec = { network: "blue", node: "n12", cidr: "10.89.0.128/28" };
    const labels = { "skylane.dev/network": "blue", "skylane.dev/node": "n12" };
    await createObject(harness.client, NETWORK_BLOCKS, {
      apiVersion: "skylane.dev/v1alpha1",
      kind: "NetworkBlock",
      metadata: { name: "blue.10-89-0-128-28", labels },
      spec,
    });
    await eventually(() => path.peers.has("n12"), { message: "the node with a block is no peer" });
    harness.networks.update(harness.inputs, true, new Map([["n12", undefined]]));
    await eventually(() => !path.peers.has("n12"));
  });
});
