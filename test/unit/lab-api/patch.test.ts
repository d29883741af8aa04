import assert from "node:assert/strict";
import { type Ask, JSON_PATCH, MERGE, type Reply, STRATEGIC, TestApi } from "./support.ts";

const PATH = "/api/v1/nodes/n";

describe("lab API: patches", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start({
      resources: [
        {
          group: "skylane.dev",
          version: "v1",
          plural: "networks",
          singular: "network",
          kind: "Network",
          namespaced: false,
          custom: true,
          generation: true,
          status: true,
          versionedUpdate: true,
        },
      ],
    });
  });
  after(() => api.server.close());
  beforeEach(async () => {
    await api.ask("DELETE", PATH);
    await api.ok("POST", "/api/v1/nodes", {
      body: {
        metadata: { name: "n", annotations: { a: "1", "b/c": "2" } },
        spec: { taints: [{ key: "x", effect: "NoSchedule" }] },
        status: {
          conditions: [
            { type: "Ready", status: "False" },
            { type: "Disk", status: "False" },
          ],
        },
      },
    });
  });

  const patch = (body: unknown, contentType: string, path = PATH, more: Ask = {}): Promise<Reply> =>
    api.ask("PATCH", path, { ...more, body, contentType });

  it("merges (RFC 7386): null removes, lists are replaced, an absent map is made", async () => {
    const reply = await patch(
      { metadata: { annotations: { a: null, d: "4" }, labels: { l: "1" } }, spec: { taints: [] } },
      MERGE,
    );
    assert.equal(reply.code, 200);
    assert.deepEqual(reply.body.metadata.annotations, { "b/c": "2", d: "4" });
    assert.deepEqual(reply.body.metadata.labels, { l: "1" });
    assert.deepEqual((reply.body.spec as { taints: unknown }).taints, []);
    const emptied = await patch({ metadata: { annotations: null } }, MERGE);
    assert.equal(emptied.body.metadata.annotations, undefined);
  });

  it("honours a resourceVersion inside a patch", async () => {
    const { resourceVersion } = (await api.ok("GET", PATH)).metadata;
    const body = { metadata: { resourceVersion, annotations: { a: "2" } } };
    assert.equal((await patch(body, MERGE)).code, 200);
    const stale = await patch({ metadata: { resourceVersion, annotations: { a: "3" } } }, MERGE);
    assert.deepEqual([stale.code, stale.body.reason], [409, "Conflict"]);
  });

  it("refuses another name and a missing object, and keeps what belongs to the system", async () => {
    assert.equal((await patch({ metadata: { name: "m" } }, MERGE)).code, 400);
    const missing = await patch({}, MERGE, "/api/v1/nodes/none");
    assert.deepEqual([missing.code, missing.body.reason], [404, "NotFound"]);
    const before = await api.ok("GET", PATH);
    const kept = await patch(
      { metadata: { creationTimestamp: null, generation: 7, deletionTimestamp: "2020-01-01T00:00:00Z" } },
      MERGE,
    );
    assert.deepEqual(kept.body, before as unknown);
    assert.equal((await patch({ metadata: { uid: "x" } }, MERGE)).code, 409);
  });

  it("applies JSON patches (RFC 6902) whole or not at all", async () => {
    const ok = await patch(
      [
        { op: "test", path: "/metadata/annotations/b~1c", value: "2" },
        { op: "replace", path: "/metadata/annotations/b~1c", value: "3" },
        { op: "remove", path: "/metadata/annotations/a" },
        { op: "add", path: "/metadata/labels", value: { x: "1" } },
        { op: "copy", from: "/metadata/labels/x", path: "/metadata/labels/y" },
        { op: "move", from: "/metadata/labels/x", path: "/metadata/labels/z" },
        { op: "add", path: "/spec/taints/-", value: { key: "y", effect: "NoExecute" } },
        { op: "add", path: "/spec/taints/0", value: { key: "w", effect: "NoExecute" } },
        { op: "remove", path: "/spec/taints/1" },
      ],
      JSON_PATCH,
    );
    assert.equal(ok.code, 200, ok.text);
    assert.deepEqual(ok.body.metadata.annotations, { "b/c": "3" });
    assert.deepEqual(ok.body.metadata.labels, { y: "1", z: "1" });
    const { taints } = ok.body.spec as { taints: { key: string }[] };
    assert.deepEqual(
      taints.map((taint) => taint.key),
      ["w", "y"],
    );
    for (const bad of [
      [
        { op: "add", path: "/metadata/labels/a", value: "1" },
        { op: "test", path: "/metadata/labels/a", value: "2" },
      ],
      [{ op: "remove", path: "/metadata/annotations/none" }],
      [{ op: "replace", path: "/nothing/there", value: 1 }],
      [{ op: "add", path: "/spec/taints/9", value: {} }],
      [{ op: "move", from: "/spec", path: "/spec/taints" }],
    ]) {
      const reply = await patch(bad, JSON_PATCH);
      assert.deepEqual([reply.code, reply.body.reason], [422, "Invalid"], JSON.stringify(bad));
    }
    assert.deepEqual((await api.ok("GET", PATH)).metadata.labels, { y: "1", z: "1" });
    for (const bad of [
      { op: "add" },
      [{ op: "odd", path: "/x" }],
      [{ op: "add", path: "x", value: 1 }],
      [{ op: "add", path: "/x" }],
    ]) {
      assert.equal((await patch(bad, JSON_PATCH)).code, 400, JSON.stringify(bad));
    }
    const many = Array.from({ length: 10_001 }, () => ({ op: "test", path: "/kind", value: "Node" }));
    assert.equal((await patch(many, JSON_PATCH)).code, 413);
  });

  it("merges lists by their keys in strategic patches of built-in kinds", async () => {
    const path = `${PATH}/status`;
    const status = {
      conditions: [
        { type: "Ready", status: "True" },
        { type: "Net", status: "False" },
      ],
    };
    const merged = await patch({ status }, STRATEGIC, path);
    assert.deepEqual(merged.body.status, {
      conditions: [
        { type: "Ready", status: "True" },
        { type: "Disk", status: "False" },
        { type: "Net", status: "False" },
      ],
    });
    const removed = await patch({ status: { conditions: [{ type: "Disk", $patch: "delete" }] } }, STRATEGIC, path);
    assert.deepEqual(
      (removed.body.status as { conditions: { type: string }[] }).conditions.map(({ type }) => type),
      ["Ready", "Net"],
    );
    const replaced = await patch({ metadata: { annotations: { $patch: "replace", only: "1" } } }, STRATEGIC);
    assert.deepEqual(replaced.body.metadata.annotations, { only: "1" });
    await patch({ metadata: { finalizers: ["a/1", "a/2"] } }, STRATEGIC);
    const fewer = await patch(
      { metadata: { "$deleteFromPrimitiveList/finalizers": ["a/1"], finalizers: ["a/3"] } },
      STRATEGIC,
    );
    assert.deepEqual(fewer.body.metadata.finalizers, ["a/2", "a/3"]);
    await patch({ metadata: { finalizers: null } }, MERGE);
    assert.equal((await patch({ metadata: { $patch: "odd" } }, STRATEGIC)).code, 400);
  });

  it("serves a further resource by its row alone, as a custom one", async () => {
    const body = {
      apiVersion: "skylane.dev/v1",
      kind: "Network",
      metadata: { name: "blue" },
      spec: { vni: 1 },
      status: { a: 1 },
    };
    const made = await api.ok("POST", "/apis/skylane.dev/v1/networks", { body });
    assert.deepEqual([made.status, made.metadata.generation], [undefined, 1]);
    const path = "/apis/skylane.dev/v1/networks/blue";
    const patched = await patch({ spec: { vni: 2 } }, MERGE, path);
    assert.equal(patched.body.metadata.generation, 2);
    const status = await patch({ metadata: { labels: { no: "1" } }, status: { a: 2 } }, MERGE, `${path}/status`);
    assert.deepEqual([status.body.status, status.body.metadata.labels], [{ a: 2 }, undefined]);
    const refused = await patch({}, STRATEGIC, path);
    assert.deepEqual([refused.code, refused.body.reason], [415, "UnsupportedMediaType"]);
    const list = await api.get("/apis/skylane.dev/v1/networks");
    assert.deepEqual([list.body.kind, list.body.items[0]?.kind], ["NetworkList", "Network"]);
    const groups = (await api.get("/apis")).body.groups as { name: string }[];
    assert.ok(groups.some((group) => group.name === "skylane.dev"));
  });

  it("refuses other patch types and options that do not fit", async () => {
    const media = await patch({}, "application/json");
    assert.deepEqual([media.code, media.body.reason], [415, "UnsupportedMediaType"]);
    assert.match(
      media.body.message,
      /^the body of the request was in an unknown format - accepted media types include: /,
    );
    const force = await patch({}, MERGE, `${PATH}?force=true`);
    assert.equal(force.code, 422);
    assert.match(force.body.message, /^PatchOptions.meta.k8s.io "" is invalid: force: Forbidden/);
    assert.equal((await patch({}, MERGE, `${PATH}?dryRun=Some`)).code, 422);
    assert.equal((await patch({}, MERGE, `${PATH}/scale`)).code, 404);
  });
});
