/** What is known of Nodes beside their metadata, against the lab's API server in both of its forms, and a scripted one. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect, type KubeClient, type NodeDetails, NodeDetailsKeeper } from "../../../src/kube/index.ts";
import { readNode } from "../../../src/kube/wire/node-wire.ts";
import { transformDetails } from "../../../src/kube/informer/transform.ts";
import { WireReader } from "../../../src/kube/wire/wire.ts";
import { type ApiServer, type KubeObject, startApiServer } from "../../../lab/api/index.ts";
import { nodeMessage, wireStatus } from "../../../lab/api/http/wire.ts";
import { eventually } from "../../support/eventually.ts";
import { answer, node, ScriptedApi, status } from "./scripted-api.ts";

const backoff = { baseMs: 2, capMs: 8 };
const full = (n: number, rest: Record<string, unknown> = {}): KubeObject => ({
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: `n${n}` },
  spec: { podCIDR: `10.244.${n}.0/24`, podCIDRs: [`10.244.${n}.0/24`, `fd00:${n}::/64`], providerID: "x" },
  status: {
    addresses: [
      { type: "Hostname", address: `n${n}` },
      { type: "InternalIP", address: `172.30.0.${n}` },
      { type: "ExternalIP", address: `203.0.113.${n}` },
    ],
    conditions: [
      { type: "DiskPressure", status: "False", lastHeartbeatTime: "2026-01-01T00:00:00Z" },
      { type: "Ready", status: n % 2 ? "True" : "Unknown" },
    ],
    images: [{ names: ["registry.example.com/a:1", "b".repeat(300)], sizeBytes: 123_456_789 }],
    capacity: { cpu: "4" },
    nodeInfo: { kernelVersion: "6.1" },
    ...rest,
  },
});
const wanted = (n: number, uid: string): NodeDetails => ({
  uid,
  podCidrs: [`10.244.${n}.0/24`, `fd00:${n}::/64`],
  addresses: [`172.30.0.${n}`, `203.0.113.${n}`],
  heard: n % 2 === 1,
});

describe("kube: what a Node's metadata does not say", () => {
  it("is read of a Node in protobuf as in JSON", () => {
    for (const n of [1, 2]) {
      const object = full(n);
      object.metadata.uid = "u";
      const read = readNode(new WireReader(nodeMessage(object)));
      assert.deepEqual(transformDetails(read), transformDetails(object));
      assert.deepEqual(transformDetails(read), { name: `n${n}`, ...wanted(n, "u") });
    }
    const bare = { metadata: { name: "n", uid: "u" }, spec: { podCIDR: "10.1.0.0/24" } };
    assert.deepEqual(transformDetails(bare), { name: "n", uid: "u", podCidrs: ["10.1.0.0/24"], addresses: [] });
  });

  describe("from an API server", () => {
    let folder: string;
    let api: ApiServer;
    let client: KubeClient;
    let keeper: NodeDetailsKeeper;
    let news: string[];
    beforeEach(async () => {
      folder = mkdtempSync(join(tmpdir(), "skylane-details-"));
      api = await startApiServer({ host: "127.0.0.1" });
      const kubeconfig = join(folder, "kubeconfig");
      writeFileSync(kubeconfig, api.kubeconfig());
      client = connect({ kubeconfig });
      news = [];
      keeper = new NodeDetailsKeeper(client, { backoff, onNews: (names) => news.push(...names) });
    });
    afterEach(async () => {
      await keeper.stop();
      await client.close();
      await api.close();
      rmSync(folder, { recursive: true, force: true });
    });
    const create = async (n: number) => {
      const made = (await client.json({ method: "POST", path: "/api/v1/nodes", body: full(n) })) as KubeObject;
      const { name, uid = "", resourceVersion = "" } = made.metadata;
      return { name, uid, resourceVersion };
    };

    /** Nodes that are there without a request for each. */
    const placed = (names: readonly string[], object: (name: string, i: number) => KubeObject) =>
      names.map((name, i) => {
        const asked = { name, uid: `uid-${name}`, resourceVersion: "" };
        const metadata = { name, uid: asked.uid, creationTimestamp: "2026-01-01T00:00:00Z" };
        api.store.put(api.type("nodes"), name, { ...object(name, i), metadata });
        return asked;
      });

    /** Requests that read Nodes. */
    const asked = () =>
      Object.fromEntries(Object.entries(api.stats().requests ?? {}).filter(([what]) => !what.startsWith("create")));

    it("is asked of one Node, once", async () => {
      const one = await create(1);
      keeper.ask([one]);
      assert.ok(!keeper.settled);
      await eventually(() => news.length === 1);
      assert.ok(keeper.settled);
      assert.deepEqual(keeper.of(one), wanted(1, one.uid));
      assert.equal(keeper.of({ ...one, uid: "another" }), undefined);
      keeper.ask([one]);
      assert.ok(keeper.settled);
      assert.deepEqual(asked(), { "get nodes 200": 1 });
    });

    it("is asked of many, and of all, in one request", async () => {
      const all = placed(
        Array.from({ length: 260 }, (_, n) => `n${n}`),
        (_, n) => full(n < 250 ? n : 1),
      );
      keeper.ask(all);
      await eventually(() => keeper.settled);
      assert.deepEqual(asked(), { "list nodes 200": 1 });
      assert.deepEqual(keeper.of(all[7] as { name: string; uid: string }), wanted(7, all[7]?.uid ?? ""));
      const other = new NodeDetailsKeeper(client, { backoff, onNews: () => undefined });
      other.askAll();
      await eventually(() => other.settled);
      assert.equal(other.of(all[255] as { name: string; uid: string })?.podCidrs[0], "10.244.1.0/24");
      await other.stop();
    });

    it("is asked of each that joins, where those that are known are many more", async () => {
      for (let n = 0; n < 2_000; n++) keeper.remember(`old${n}`, wanted(1, `old${n}`));
      const all = placed(
        Array.from({ length: 300 }, (_, n) => `new${n}`),
        () => full(1),
      );
      keeper.ask(all);
      await eventually(() => keeper.settled);
      assert.deepEqual(asked(), { "get nodes 200": 300 });
    });

    it("is asked again of a Node that was registered again, and forgotten of one that is gone", async () => {
      const first = await create(1);
      keeper.ask([first]);
      await eventually(() => keeper.settled);
      api.store.remove(api.type("nodes"), "n1");
      const second = await create(1);
      assert.notEqual(second.uid, first.uid);
      keeper.ask([second]);
      await eventually(() => keeper.of(second) !== undefined);
      assert.equal(keeper.of(first), undefined);
      api.store.remove(api.type("nodes"), "n1");
      keeper.ask([{ ...second, uid: "third" }]);
      await eventually(() => keeper.settled);
      assert.equal(keeper.failureOf("n1"), undefined);
    });
  });

  it("is asked again while the server fails, and says why after the second time", async () => {
    const api = await new ScriptedApi().listen();
    const client = connect({ kubeconfig: api.kubeconfig() });
    const keeper = new NodeDetailsKeeper(client, { backoff, onNews: () => undefined });
    const asked: (string | null)[] = [];
    let failing = true;
    api.objects = (name, { query, headers }) => {
      asked.push(query.get("resourceVersion"));
      assert.match(String(headers.accept), /^application\/vnd\.kubernetes\.protobuf,application\/json$/);
      if (name === "gone")
        return (response) => {
          response.writeHead(404, { "content-type": "application/vnd.kubernetes.protobuf" });
          response.end(
            wireStatus({ code: 404, reason: "NotFound", message: "none", details: { name, kind: "nodes" } }),
          );
        };
      return failing
        ? answer(status(500, "InternalError"), 500)
        : answer(node(name, { rest: { spec: { podCIDRs: ["10.244.1.0/24"] } } }));
    };
    keeper.ask([{ name: "a", uid: "uid-a", resourceVersion: "17" }]);
    await eventually(() => keeper.failureOf("a") !== undefined);
    assert.match(keeper.failureOf("a") ?? "", /InternalError/);
    assert.ok(keeper.settled);
    assert.deepEqual(asked.slice(0, 2), ["17", null]);
    failing = false;
    await eventually(() => keeper.of({ name: "a", uid: "uid-a" }) !== undefined);
    assert.equal(keeper.failureOf("a"), undefined);
    keeper.ask([{ name: "gone", uid: "u", resourceVersion: "17" }]);
    await eventually(() => keeper.settled);
    assert.equal(keeper.failureOf("gone"), undefined);
    await keeper.stop();
    await client.close();
    await api.close();
  });
});
