import assert from "node:assert/strict";
import { MERGE, TestApi } from "./support.ts";

describe("lab API: delete", () => {
  let api: TestApi;
  beforeEach(async () => {
    api = await TestApi.start();
  });
  afterEach(() => api.server.close());

  it("answers with a Status, or with the object for pods, and 404 afterwards", async () => {
    const made = await api.node("gone");
    const reply = await api.ask("DELETE", "/api/v1/nodes/gone");
    assert.deepEqual([reply.code, reply.body.kind, reply.body.status], [200, "Status", "Success"]);
    assert.deepEqual(reply.body.details, { name: "gone", kind: "nodes", uid: made.metadata.uid });
    const again = await api.ask("DELETE", "/api/v1/nodes/gone");
    assert.deepEqual([again.code, again.body.reason, again.body.message], [404, "NotFound", 'nodes "gone" not found']);
    await api.ok("POST", "/api/v1/namespaces/default/pods", { body: { metadata: { name: "p" } } });
    assert.equal((await api.ok("DELETE", "/api/v1/namespaces/default/pods/p")).kind, "Pod");
  });

  it("looks at preconditions", async () => {
    const made = await api.node("held");
    const uid = await api.ask("DELETE", "/api/v1/nodes/held", { body: { preconditions: { uid: "other" } } });
    assert.deepEqual([uid.code, uid.body.reason], [409, "Conflict"]);
    assert.match(uid.body.message, /the UID in the precondition \(other\) does not match the UID in record/);
    const rv = await api.ask("DELETE", "/api/v1/nodes/held", { body: { preconditions: { resourceVersion: "1" } } });
    assert.equal(rv.code, 409);
    const { uid: own } = made.metadata;
    assert.equal((await api.ask("DELETE", "/api/v1/nodes/held", { body: { preconditions: { uid: own } } })).code, 200);
  });

  it("waits for finalizers", async () => {
    const path = "/api/v1/nodes/final";
    await api.ok("POST", "/api/v1/nodes", { body: { metadata: { name: "final", finalizers: ["skylane.dev/x"] } } });
    const rv = api.server.store.resourceVersion;
    const watch = await api.watch(`/api/v1/nodes?resourceVersion=${rv}`);
    const marked = await api.ok("DELETE", path);
    assert.equal(marked.kind, "Node");
    assert.match(marked.metadata.deletionTimestamp, /Z$/);
    await api.ok("DELETE", path);
    const added = await api.ask("PATCH", path, {
      body: { metadata: { finalizers: ["skylane.dev/x", "a/b"] } },
      contentType: MERGE,
    });
    assert.equal(added.code, 422);
    const last = await api.ok("PATCH", path, {
      body: { metadata: { finalizers: null, labels: { l: "1" } } },
      contentType: MERGE,
    });
    assert.deepEqual(last.metadata.labels, { l: "1" });
    assert.equal((await api.get(path)).code, 404);
    assert.deepEqual(await watch.brief(2), ["MODIFIED final", "DELETED final"]);
    watch.close();
  });

  it("deletes a collection by selector", async () => {
    for (const name of ["a1", "a2", "b1"]) await api.node(name, { labels: { of: name.slice(0, 1) } });
    const reply = await api.ask("DELETE", "/api/v1/nodes?labelSelector=of%3Da");
    assert.deepEqual(
      reply.body.items.map((item) => item.metadata.name),
      ["a1", "a2"],
    );
    assert.deepEqual(
      (await api.get("/api/v1/nodes")).body.items.map((item) => item.metadata.name),
      ["b1"],
    );
    assert.equal((await api.ask("DELETE", "/api/v1/pods")).code, 405);
  });

  it("empties a namespace before it goes, and keeps those that a cluster needs", async () => {
    await api.ok("POST", "/api/v1/namespaces", { body: { metadata: { name: "team" } } });
    const pods = "/api/v1/namespaces/team/pods";
    await api.ok("POST", pods, { body: { metadata: { name: "free" } } });
    await api.ok("POST", pods, { body: { metadata: { name: "held", finalizers: ["a/b"] } } });
    const dying = await api.ok("DELETE", "/api/v1/namespaces/team");
    assert.deepEqual(dying.status, { phase: "Terminating" });
    const late = await api.ask("POST", pods, { body: { metadata: { name: "late" } } });
    assert.equal(late.code, 403);
    assert.match(late.body.message, /because it is being terminated/);
    assert.deepEqual(
      (await api.get(pods)).body.items.map((item) => item.metadata.name),
      ["held"],
    );
    await api.ok("PATCH", `${pods}/held`, { body: { metadata: { finalizers: [] } }, contentType: MERGE });
    assert.equal((await api.get("/api/v1/namespaces/team")).code, 404);
    const system = await api.ask("DELETE", "/api/v1/namespaces/default");
    assert.deepEqual(
      [system.code, system.body.message],
      [403, 'namespaces "default" is forbidden: this namespace may not be deleted'],
    );
  });
});
