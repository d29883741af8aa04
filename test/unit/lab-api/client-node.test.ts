/** The real client library against the server: what it is given must be what it expects. */
import assert from "node:assert/strict";
import {
  ApiException,
  CoordinationV1Api,
  CoreV1Api,
  KubeConfig,
  KubernetesObjectApi,
  PatchStrategy,
  setHeaderOptions,
  Watch,
} from "@kubernetes/client-node";
import { eventually } from "../../support/eventually.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";

describe("lab API: @kubernetes/client-node", function () {
  this.timeout(30_000);
  let server: ApiServer;
  let config: KubeConfig;
  let core: CoreV1Api;
  before(async () => {
    server = await startApiServer({ host: "127.0.0.1", bookmarkIntervalMs: 30 });
    config = new KubeConfig();
    config.loadFromString(server.kubeconfig());
    core = config.makeApiClient(CoreV1Api);
  });
  after(() => server.close());

  const refusal = (code: number) => (error: unknown) => error instanceof ApiException && error.code === code;

  it("creates, reads, patches, lists and deletes", async () => {
    const made = await core.createNode({ body: { metadata: { name: "n1" }, spec: { podCIDRs: ["10.0.0.0/24"] } } });
    assert.ok(made.metadata?.creationTimestamp instanceof Date);
    const patched = await core.patchNode(
      { name: "n1", body: { metadata: { annotations: { "skylane.dev/vtep": "{}" } } } },
      setHeaderOptions("Content-Type", PatchStrategy.MergePatch),
    );
    assert.deepEqual(patched.metadata?.annotations, { "skylane.dev/vtep": "{}" });
    const applied = await core.patchNode(
      {
        name: "n1",
        fieldManager: "agent",
        force: true,
        body: { apiVersion: "v1", kind: "Node", metadata: { name: "n1", labels: { l: "1" } } },
      },
      setHeaderOptions("Content-Type", PatchStrategy.ServerSideApply),
    );
    assert.deepEqual(applied.metadata?.labels, { l: "1" });
    const json = await core.patchNode({ name: "n1", body: [{ op: "add", path: "/metadata/labels/m", value: "2" }] });
    assert.deepEqual(json.metadata?.labels, { l: "1", m: "2" });
    const list = await core.listNode({ limit: 10 });
    assert.deepEqual(
      list.items.map((node) => node.metadata?.name),
      ["n1"],
    );
    await assert.rejects(core.createNode({ body: { metadata: { name: "n1" } } }), refusal(409));
    assert.equal((await core.deleteNode({ name: "n1" })).status, "Success");
    await assert.rejects(core.readNode({ name: "n1" }), refusal(404));
  });

  it("serves namespaced and grouped resources", async () => {
    const event = await core.createNamespacedEvent({
      namespace: "default",
      body: {
        metadata: { generateName: "n1." },
        involvedObject: { kind: "Node", name: "n1" },
        reason: "Test",
        message: "m",
        type: "Normal",
      },
    });
    assert.match(event.metadata.name ?? "", /^n1\./);
    const events = await core.listNamespacedEvent({ namespace: "default", fieldSelector: "reason=Test" });
    assert.equal(events.items.length, 1);
    const leases = config.makeApiClient(CoordinationV1Api);
    await leases.createNamespacedLease({
      namespace: "kube-node-lease",
      body: { metadata: { name: "n1" }, spec: { holderIdentity: "n1" } },
    });
    assert.equal(
      (await leases.readNamespacedLease({ namespace: "kube-node-lease", name: "n1" })).spec?.holderIdentity,
      "n1",
    );
    const objects = KubernetesObjectApi.makeApiClient(config);
    const map = await objects.create({
      apiVersion: "v1",
      kind: "ConfigMap",
      metadata: { name: "c", namespace: "default" },
    });
    assert.equal(map.metadata?.name, "c");
  });

  it("watches with bookmarks, and pages", async () => {
    for (const name of ["w1", "w2", "w3"]) await core.createNode({ body: { metadata: { name } } });
    const first = await core.listNode({ limit: 2 });
    const second = await core.listNode({ limit: 2, _continue: first.metadata?._continue });
    assert.deepEqual(
      [...first.items, ...second.items].map((node) => node.metadata?.name),
      ["w1", "w2", "w3"],
    );

    const seen: string[] = [];
    let bookmarked: (() => void) | undefined;
    const bookmark = new Promise<void>((resolve) => {
      bookmarked = resolve;
    });
    let ended: ((error: unknown) => void) | undefined;
    const end = new Promise<unknown>((resolve) => {
      ended = resolve;
    });
    const query = { resourceVersion: first.metadata?.resourceVersion, allowWatchBookmarks: true };
    const abort = await new Watch(config).watch(
      "/api/v1/nodes",
      query,
      (phase: string, object: { metadata: { name: string } }) => {
        if (phase === "BOOKMARK") bookmarked?.();
        else seen.push(`${phase} ${object.metadata.name}`);
      },
      (error: unknown) => ended?.(error),
    );
    await core.createNode({ body: { metadata: { name: "w4" } } });
    await core.deleteNode({ name: "w1" });
    await bookmark;
    await eventually(() => seen.length === 2);
    assert.deepEqual(seen, ["ADDED w4", "DELETED w1"]);
    abort.abort();
    await end;
  });
});
