import assert from "node:assert/strict";
import type { JsonObject } from "../../../lab/api/index.ts";
import { APPLY, MERGE, type Reply, TestApi } from "./support.ts";

interface Entry {
  manager: string;
  operation: string;
  subresource?: string;
  fieldsV1: JsonObject;
  time: string;
}

describe("lab API: server-side apply", () => {
  let api: TestApi;
  beforeEach(async () => {
    api = await TestApi.start();
  });
  afterEach(() => api.server.close());

  const apply = (manager: string, config: JsonObject, query = "", path = "/api/v1/nodes/n"): Promise<Reply> =>
    api.ask("PATCH", `${path}?fieldManager=${manager}${query}`, {
      body: { apiVersion: "v1", kind: path.includes("pods") ? "Pod" : "Node", ...config },
      contentType: APPLY,
    });
  const annotations = (annotations: JsonObject): JsonObject => ({ metadata: { name: "n", annotations } });
  const entries = (reply: Reply): Entry[] => reply.body.metadata.managedFields as unknown as Entry[];

  it("creates what is missing and notes its manager", async () => {
    const reply = await apply("agent", annotations({ "skylane.dev/vtep": "x" }));
    assert.equal(reply.code, 201);
    const [entry, ...others] = entries(reply);
    assert.deepEqual(others, []);
    assert.deepEqual([entry?.manager, entry?.operation], ["agent", "Apply"]);
    assert.deepEqual(entry?.fieldsV1, { "f:metadata": { "f:annotations": { "f:skylane.dev/vtep": {} } } });
  });

  it("merges, and removes what the manager no longer applies", async () => {
    await api.node("n", { annotations: { other: "kept" } });
    await apply("agent", annotations({ a: "1", b: "2" }));
    const reply = await apply("agent", annotations({ a: "3" }));
    assert.deepEqual(reply.body.metadata.annotations, { other: "kept", a: "3" });
    const none = await apply("agent", { metadata: { name: "n" } });
    assert.deepEqual(none.body.metadata.annotations, { other: "kept" });
  });

  it("keeps a field that somebody else manages too", async () => {
    await apply("one", annotations({ shared: "1", own: "1" }));
    const both = await apply("two", annotations({ shared: "1" }));
    assert.equal(both.code, 200, "the same value is no conflict");
    const left = await apply("one", annotations({}));
    assert.deepEqual(left.body.metadata.annotations, { shared: "1" });
  });

  it("conflicts with other managers, unless forced", async () => {
    await apply("one", annotations({ a: "1" }));
    await api.annotate("n", { b: "1" });
    const refused = await apply("two", annotations({ a: "2", b: "2" }));
    assert.deepEqual([refused.code, refused.body.reason], [409, "Conflict"]);
    assert.match(
      refused.body.message,
      /^Apply failed with 2 conflicts: conflict with "one" using v1: .metadata.annotations.a\n/,
    );
    const { causes } = refused.body.details as { causes: unknown[] };
    assert.deepEqual(causes[0], {
      reason: "FieldManagerConflict",
      message: 'conflict with "one" using v1',
      field: ".metadata.annotations.a",
    });
    const forced = await apply("two", annotations({ a: "2", b: "2" }), "&force=true");
    assert.deepEqual(forced.body.metadata.annotations, { a: "2", b: "2" });
    assert.deepEqual(
      entries(forced).map(({ manager }) => manager),
      ["two"],
    );
    // What was taken over is no longer the first one's to remove.
    const gone = await apply("one", annotations({}));
    assert.deepEqual(gone.body.metadata.annotations, { a: "2", b: "2" });
  });

  it("notes updates and patches under their manager or the User-Agent", async () => {
    await api.ok("POST", "/api/v1/nodes?fieldManager=maker", { body: { metadata: { name: "n", labels: { l: "1" } } } });
    const reply = await api.ask("PATCH", "/api/v1/nodes/n", {
      body: { metadata: { annotations: { a: "1" } } },
      contentType: MERGE,
      headers: { "user-agent": "skylane-agent/0.1 (linux)" },
    });
    const own = entries(reply).find(({ manager }) => manager === "skylane-agent");
    assert.deepEqual([own?.operation, own?.fieldsV1], ["Update", { "f:metadata": { "f:annotations": { "f:a": {} } } }]);
    const status = await api.ask("PATCH", "/api/v1/nodes/n/status?fieldManager=kubelet", {
      body: { status: { phase: "x" } },
      contentType: MERGE,
    });
    assert.equal(entries(status).find(({ manager }) => manager === "kubelet")?.subresource, "status");
  });

  it("merges lists by key, and removes elements that are no longer applied", async () => {
    const path = "/api/v1/namespaces/default/pods/p";
    const pod = (...containers: JsonObject[]): JsonObject => ({ metadata: { name: "p" }, spec: { containers } });
    await apply("one", pod({ name: "a", image: "x" }), "", path);
    const two = await apply("two", pod({ name: "b", image: "y", ports: [{ containerPort: 80 }] }), "", path);
    assert.deepEqual(two.body.spec, {
      containers: [
        { name: "a", image: "x" },
        { name: "b", image: "y", ports: [{ containerPort: 80 }] },
      ],
    });
    const refused = await apply("one", pod({ name: "b", image: "z" }), "", path);
    assert.equal(
      refused.body.message,
      'Apply failed with 1 conflict: conflict with "two" using v1: .spec.containers[name="b"].image',
    );
    const gone = await apply("one", pod(), "", path);
    assert.deepEqual((gone.body.spec as { containers: unknown }).containers, [
      { name: "b", image: "y", ports: [{ containerPort: 80 }] },
    ]);
  });

  it("applies the status through its subresource only", async () => {
    await api.node("n");
    const config = {
      metadata: { name: "n", annotations: { a: "1" } },
      status: { addresses: [{ type: "InternalIP", address: "10.0.0.1" }] },
    };
    const main = await apply("agent", config);
    assert.deepEqual(main.body.status, {});
    const status = await apply("agent", config, "", "/api/v1/nodes/n/status");
    assert.deepEqual(status.body.status, config.status);
    assert.equal(entries(status).filter(({ manager }) => manager === "agent").length, 2);
  });

  it("writes nothing when nothing changes", async () => {
    const first = await apply("agent", annotations({ a: "1" }));
    const again = await apply("agent", annotations({ a: "1" }));
    assert.deepEqual(again.body, first.body);
  });

  it("refuses what cannot be applied", async () => {
    const manager = await apply("", annotations({ a: "1" }));
    assert.equal(manager.code, 422);
    assert.match(manager.body.message, /fieldManager: Required value: is required for apply patch/);
    const managed = await apply("agent", { metadata: { name: "n", managedFields: [] } });
    assert.deepEqual([managed.code, managed.body.message], [400, "metadata.managedFields must be nil"]);
    assert.equal((await apply("agent", { metadata: { name: "other" } })).code, 400);
    assert.equal((await apply("agent", { metadata: { name: "n" } }, "", "/api/v1/nodes/n/status")).code, 404);
    await apply("agent", annotations({ a: "1" }));
    const stale = await apply("agent", { metadata: { name: "n", resourceVersion: "1" } });
    assert.equal(stale.code, 409);
  });
});
