import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { MERGE, META, TestApi } from "./support.ts";

const NODES = "/api/v1/nodes";
const WATCH_LIST = `${NODES}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`;

describe("lab API: watches", () => {
  let api: TestApi;
  beforeEach(async () => {
    api = await TestApi.start({ freshnessTimeoutMs: 50 });
  });
  afterEach(() => api.server.close());

  it("begins with what is there when no resourceVersion is given, or 0", async () => {
    await api.node("a");
    await api.node("b");
    for (const query of ["", "?resourceVersion=", "?resourceVersion=0"]) {
      const watch = await api.watch(NODES + query);
      assert.deepEqual(await watch.brief(2), ["ADDED a", "ADDED b"]);
      const name = `c${query.length}`;
      await api.node(name);
      assert.deepEqual(await watch.brief(1), [`ADDED ${name}`]);
      await api.ok("DELETE", `${NODES}/${name}`);
      watch.close();
    }
  });

  it("goes on from a resourceVersion, in order, whole objects with kind", async () => {
    const { resourceVersion } = (await api.node("a")).metadata;
    await api.annotate("a", { n: "1" });
    await api.node("b");
    const watch = await api.watch(`${NODES}?resourceVersion=${resourceVersion}`);
    const first = await watch.next();
    assert.deepEqual(
      [first.type, first.object.kind, first.object.metadata.annotations],
      ["MODIFIED", "Node", { n: "1" }],
    );
    assert.deepEqual(await watch.brief(1), ["ADDED b"]);
    const before = await api.annotate("b", { last: "state" });
    await api.ok("DELETE", `${NODES}/b`);
    await watch.next();
    const gone = await watch.next();
    assert.deepEqual([gone.type, gone.object.metadata.annotations], ["DELETED", { last: "state" }]);
    assert.equal(Number(gone.object.metadata.resourceVersion), Number(before.metadata.resourceVersion) + 1);
    assert.equal(Number(gone.object.metadata.resourceVersion), api.server.store.resourceVersion);
    watch.close();
  });

  it("ends the initial events of a WatchList with its bookmark", async () => {
    await api.node("a");
    await api.node("b");
    const rv = api.server.store.resourceVersion;
    const watch = await api.watch(WATCH_LIST);
    assert.deepEqual(await watch.brief(2), ["ADDED a", "ADDED b"]);
    const end = await watch.next();
    assert.deepEqual(end, {
      type: "BOOKMARK",
      object: {
        kind: "Node",
        apiVersion: "v1",
        metadata: {
          resourceVersion: String(rv),
          creationTimestamp: null,
          annotations: { "k8s.io/initial-events-end": "true" },
        },
      },
    } as unknown);
    await api.annotate("a", { x: "1" });
    assert.deepEqual(await watch.brief(1), ["MODIFIED a"]);
    watch.close();
  });

  it("starts from now where initial events are declined", async () => {
    await api.node("a");
    const watch = await api.watch(`${NODES}?sendInitialEvents=false&resourceVersionMatch=NotOlderThan`);
    await api.node("b");
    assert.deepEqual(await watch.brief(1), ["ADDED b"]);
    watch.close();
  });

  it("sends bookmarks to those who allow them", async () => {
    const quick = await TestApi.start({ bookmarkIntervalMs: 20 });
    const watch = await quick.watch(`${NODES}?allowWatchBookmarks=true`);
    const rv = quick.server.store.resourceVersion;
    assert.deepEqual(await watch.brief(2), [`BOOKMARK ${rv}`, `BOOKMARK ${rv}`]);
    // Any write of the store moves the bookmark on.
    await quick.ok("POST", "/api/v1/namespaces/default/pods", { body: { metadata: { name: "p" } } });
    await eventually(async () => (await watch.brief(1))[0] === `BOOKMARK ${rv + 1}`);
    const plain = await quick.watch(`${NODES}?timeoutSeconds=1`);
    assert.equal(await plain.line(), undefined);
    watch.close();
    await quick.server.close();
  });

  it("says 410 in the stream when the history is gone", async () => {
    const { resourceVersion } = (await api.node("a")).metadata;
    await api.annotate("a", { n: "1" });
    api.server.store.compact();
    const compacted = api.server.store.resourceVersion;
    const watch = await api.watch(`${NODES}?resourceVersion=${resourceVersion}`);
    const { type, object } = await watch.next();
    assert.deepEqual([type, object.kind, object.code, object.reason], ["ERROR", "Status", 410, "Expired"]);
    assert.equal(object.message, `too old resource version: ${resourceVersion} (${compacted})`);
    assert.equal(await watch.line(), undefined);
    const current = await api.watch(`${NODES}?resourceVersion=${compacted}`);
    await api.node("b");
    assert.deepEqual(await current.brief(1), ["ADDED b"]);
    current.close();
  });

  it("compacts by the size of the history", async () => {
    const small = await TestApi.start({ historyLimit: 10 });
    const { resourceVersion } = (await small.node("a")).metadata;
    for (let n = 0; n < 40; n += 1) await small.annotate("a", { n: String(n) });
    const watch = await small.watch(`${NODES}?resourceVersion=${resourceVersion}`);
    assert.equal((await watch.next()).object.code, 410);
    const near = await small.watch(`${NODES}?resourceVersion=${small.server.store.resourceVersion - 5}`);
    assert.equal((await near.brief(5)).length, 5);
    near.close();
    await small.server.close();
  });

  it("waits for a future resourceVersion and skips what comes before it", async () => {
    const rv = api.server.store.resourceVersion;
    const watch = await api.watch(`${NODES}?resourceVersion=${rv + 2}`);
    for (const name of ["a", "b", "c"]) await api.node(name);
    assert.deepEqual(await watch.brief(1), ["ADDED c"]);
    watch.close();
    const late = await api.watch(`${WATCH_LIST}&resourceVersion=9999`);
    assert.deepEqual([(await late.next()).object.code, await late.line()], [504, undefined]);
  });

  it("turns changes of a match into ADDED and DELETED", async () => {
    await api.node("a", { labels: { on: "no" } });
    const watch = await api.watch(
      `${NODES}?labelSelector=on%3Dyes&resourceVersion=${api.server.store.resourceVersion}`,
    );
    const label = (on: string | null, more = {}) =>
      api.ok("PATCH", `${NODES}/a`, { body: { metadata: { labels: { on, ...more } } }, contentType: MERGE });
    await label("yes");
    await label("yes", { more: "1" });
    const left = await label("no");
    await label("yes");
    await api.ok("DELETE", `${NODES}/a`);
    assert.deepEqual(await watch.brief(2), ["ADDED a", "MODIFIED a"]);
    const gone = await watch.next();
    // The last state that matched, at the resourceVersion of the change.
    assert.deepEqual([gone.type, gone.object.metadata.labels], ["DELETED", { on: "yes", more: "1" }]);
    assert.equal(gone.object.metadata.resourceVersion, left.metadata.resourceVersion);
    assert.deepEqual(await watch.brief(2), ["ADDED a", "DELETED a"]);
    watch.close();
  });

  it("watches one object by name, and one namespace", async () => {
    const byField = await api.watch(`${NODES}?fieldSelector=metadata.name%3Db`);
    const byPath = await api.watch(`${NODES}/b`);
    await api.node("a");
    await api.node("b");
    assert.deepEqual([await byField.brief(1), await byPath.brief(1)], [["ADDED b"], ["ADDED b"]]);
    const system = await api.watch("/api/v1/namespaces/kube-system/pods");
    const everywhere = await api.watch("/api/v1/pods");
    for (const namespace of ["default", "kube-system"]) {
      await api.ok("POST", `/api/v1/namespaces/${namespace}/pods`, { body: { metadata: { name: `in-${namespace}` } } });
    }
    assert.deepEqual(await system.brief(1), ["ADDED in-kube-system"]);
    assert.deepEqual(await everywhere.brief(2), ["ADDED in-default", "ADDED in-kube-system"]);
    for (const watch of [byField, byPath, system, everywhere]) watch.close();
  });

  it("sends metadata alone where asked to", async () => {
    await api.node("a", { annotations: { k: "v" }, spec: { podCIDR: "10.0.0.0/24" } });
    const watch = await api.watch(WATCH_LIST, { accept: `${META},application/json` });
    const { object } = await watch.next();
    assert.deepEqual(Object.keys(object), ["kind", "apiVersion", "metadata"]);
    assert.deepEqual([object.kind, object.apiVersion], ["PartialObjectMetadata", "meta.k8s.io/v1"]);
    assert.deepEqual(object.metadata.annotations, { k: "v" });
    assert.equal((await watch.next()).object.kind, "PartialObjectMetadata");
    watch.close();
  });

  it("ends after timeoutSeconds, and forgets watches that their clients left", async () => {
    const watch = await api.watch(`${NODES}?timeoutSeconds=1`);
    assert.equal(await watch.line(), undefined);
    const left = await api.watch(NODES);
    assert.equal(api.server.stats().openWatches, 1);
    left.close();
    await eventually(() => api.server.stats().openWatches === 0);
  });

  it("sends every event once to many watches at once", async () => {
    const watches = await Promise.all(Array.from({ length: 20 }, () => api.watch(NODES)));
    for (let n = 0; n < 20; n += 1) await api.node(`n${String(n).padStart(2, "0")}`);
    const expected = Array.from({ length: 20 }, (_, n) => `ADDED n${String(n).padStart(2, "0")}`);
    for (const watch of watches) {
      assert.deepEqual(await watch.brief(20), expected);
      watch.close();
    }
  });
});
