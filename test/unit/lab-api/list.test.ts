import assert from "node:assert/strict";
import { type Reply, TestApi } from "./support.ts";

const NODES = "/api/v1/nodes";

function names(reply: Reply): string[] {
  return reply.body.items.map((item) => item.metadata.name);
}

describe("lab API: lists", () => {
  let api: TestApi;
  beforeEach(async () => {
    api = await TestApi.start({ freshnessTimeoutMs: 50 });
    for (const name of ["c", "a", "e", "b", "d"]) await api.node(name);
  });
  afterEach(() => api.server.close());

  it("lists in order, at the store's resourceVersion; items of built-in kinds carry no kind", async () => {
    const reply = await api.get(NODES);
    assert.deepEqual(names(reply), ["a", "b", "c", "d", "e"]);
    assert.deepEqual([reply.body.kind, reply.body.apiVersion], ["NodeList", "v1"]);
    assert.equal(reply.body.metadata.resourceVersion, String(api.server.store.resourceVersion));
    assert.equal(reply.body.items[0]?.kind, undefined);
    assert.deepEqual((await api.get("/api/v1/pods")).body.items, []);
  });

  it("pages consistently at the first page's resourceVersion", async () => {
    const first = await api.get(`${NODES}?limit=2`);
    assert.deepEqual(names(first), ["a", "b"]);
    assert.equal(first.body.metadata.remainingItemCount, 3);
    await api.node("bb");
    await api.annotate("d", { changed: "yes" });
    await api.ok("DELETE", `${NODES}/c`);
    const second = await api.get(`${NODES}?limit=2&continue=${first.body.metadata.continue ?? ""}`);
    assert.deepEqual(names(second), ["c", "d"]);
    assert.equal(second.body.items[1]?.metadata.annotations, undefined);
    assert.equal(second.body.metadata.resourceVersion, first.body.metadata.resourceVersion);
    assert.equal(second.body.metadata.remainingItemCount, 1);
    const third = await api.get(`${NODES}?limit=2&continue=${second.body.metadata.continue ?? ""}`);
    assert.deepEqual(names(third), ["e"]);
    assert.deepEqual([third.body.metadata.continue, third.body.metadata.remainingItemCount], [undefined, undefined]);
    assert.deepEqual(names(await api.get(NODES)), ["a", "b", "bb", "d", "e"]);
  });

  it("answers 410 for a compacted continue token, with one that goes on inconsistently", async () => {
    const first = await api.get(`${NODES}?limit=2`);
    await api.node("bb");
    api.server.store.compact();
    const gone = await api.get(`${NODES}?limit=2&continue=${first.body.metadata.continue ?? ""}`);
    assert.deepEqual([gone.code, gone.body.reason], [410, "Expired"]);
    assert.match(gone.body.message, /^The provided continue parameter is too old to display a consistent list result/);
    const rest = await api.get(`${NODES}?continue=${gone.body.metadata.continue ?? ""}`);
    assert.deepEqual(names(rest), ["bb", "c", "d", "e"]);
  });

  it("refuses tokens that are none", async () => {
    assert.equal((await api.get(`${NODES}?continue=nonsense`)).code, 400);
    const first = await api.get(`${NODES}?limit=2`);
    const mixed = await api.get(`${NODES}?limit=2&resourceVersion=3&continue=${first.body.metadata.continue ?? ""}`);
    assert.deepEqual(
      [mixed.code, mixed.body.message],
      [400, "specifying resource version is not allowed when using continue"],
    );
  });

  it("knows the meanings of resourceVersion", async () => {
    const { resourceVersion: then } = (await api.get(NODES)).body.metadata;
    await api.node("f");
    const now = String(api.server.store.resourceVersion);
    const at = async (query: string): Promise<[string[], unknown]> => {
      const reply = await api.get(`${NODES}?${query}`);
      return [names(reply), reply.body.metadata.resourceVersion];
    };
    const old = ["a", "b", "c", "d", "e"];
    assert.deepEqual(await at(`resourceVersion=${then}`), [[...old, "f"], now]);
    assert.deepEqual(await at(`resourceVersion=${then}&resourceVersionMatch=NotOlderThan`), [[...old, "f"], now]);
    assert.deepEqual(await at(`resourceVersion=${then}&resourceVersionMatch=Exact`), [old, then]);
    assert.deepEqual(await at(`resourceVersion=${then}&limit=10`), [old, then]);
    // As the real watch cache: a limit is ignored with resourceVersion=0.
    assert.deepEqual(await at("resourceVersion=0&limit=2"), [[...old, "f"], now]);
    api.server.store.compact();
    const gone = await api.get(`${NODES}?resourceVersion=${then}&resourceVersionMatch=Exact`);
    assert.deepEqual([gone.code, gone.body.message], [410, "The resourceVersion for the provided list is too old."]);
  });

  it("answers 504 for a future resourceVersion, unless it comes in time", async () => {
    const late = await api.get(`${NODES}?resourceVersion=9999`);
    assert.deepEqual([late.code, late.body.reason], [504, "Timeout"]);
    const current = api.server.store.resourceVersion;
    assert.equal(late.body.message, `Timeout: Too large resource version: 9999, current: ${current}`);
    assert.equal(late.headers.get("retry-after"), "1");
    assert.equal((await api.get(`${NODES}/a?resourceVersion=9999`)).code, 504);
    const waiting = api.server.store.waitFor(current + 1, 60_000);
    await api.annotate("a", { x: "1" });
    await waiting;
  });

  it("checks its options as ValidateListOptions does", async () => {
    const refused = async (query: string): Promise<string> => {
      const reply = await api.get(`${NODES}?${query}`);
      assert.equal(reply.code, 422, reply.text);
      return reply.body.message;
    };
    assert.equal(
      await refused("resourceVersionMatch=Exact"),
      'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided',
    );
    assert.match(await refused("resourceVersion=0&resourceVersionMatch=Exact"), /is forbidden for resourceVersion "0"/);
    assert.match(await refused("resourceVersion=1&resourceVersionMatch=Odd"), /Unsupported value: "Odd"/);
    assert.match(await refused("sendInitialEvents=true"), /sendInitialEvents is forbidden for list/);
    assert.match(
      await refused("watch=1&sendInitialEvents=true"),
      /requires setting resourceVersionMatch to NotOlderThan/,
    );
    assert.match(
      await refused("watch=1&resourceVersionMatch=NotOlderThan"),
      /forbidden for watch unless sendInitialEvents is provided/,
    );
    assert.equal((await api.get(`${NODES}?resourceVersion=abc`)).code, 400);
    assert.equal((await api.get(`${NODES}?limit=x`)).code, 400);
  });

  it("selects by label and by field", async () => {
    await api.node("l1", { labels: { zone: "a", n: "1" } });
    await api.node("l2", { labels: { zone: "b", n: "5" } });
    await api.node("l3", { labels: { n: "9" } });
    const by = async (query: string): Promise<string[]> => names(await api.get(`${NODES}?${query}`));
    const label = (selector: string): Promise<string[]> => by(`labelSelector=${encodeURIComponent(selector)}`);
    assert.deepEqual(await label("zone=a"), ["l1"]);
    assert.deepEqual(await label("zone==a"), ["l1"]);
    assert.deepEqual(await label("zone!=a,n"), ["l2", "l3"]);
    assert.deepEqual(await label("zone in (a, b)"), ["l1", "l2"]);
    assert.deepEqual(await label("zone notin (a),n in (5,9)"), ["l2", "l3"]);
    assert.deepEqual(await label("!zone,n"), ["l3"]);
    assert.deepEqual(await label("n>1,n<9"), ["l2"]);
    assert.deepEqual(await by("fieldSelector=metadata.name%3Da"), ["a"]);
    assert.deepEqual(await by("fieldSelector=metadata.name!%3Da&labelSelector=zone"), ["l1", "l2"]);
    const limited = await api.get(`${NODES}?limit=1&labelSelector=zone`);
    assert.equal(limited.body.metadata.remainingItemCount, undefined);
    assert.ok(limited.body.metadata.continue);
    assert.equal((await api.get(`${NODES}?labelSelector=${encodeURIComponent("a in b")}`)).code, 400);
    assert.equal((await api.get(`${NODES}?labelSelector=${encodeURIComponent("a b")}`)).code, 400);
    const odd = await api.get(`${NODES}?fieldSelector=spec.podCIDR%3Dx`);
    assert.deepEqual([odd.code, odd.body.message], [400, "field label not supported: spec.podCIDR"]);
  });

  it("selects pods and events by their own fields", async () => {
    const pods = "/api/v1/namespaces/default/pods";
    await api.ok("POST", pods, { body: { metadata: { name: "p1" }, spec: { nodeName: "a" } } });
    await api.ok("POST", pods, { body: { metadata: { name: "p2" }, spec: { nodeName: "b" } } });
    const onA = "fieldSelector=spec.nodeName%3Da,status.phase!%3DSucceeded";
    assert.deepEqual(names(await api.get(`/api/v1/pods?${onA}`)), ["p1"]);
    assert.deepEqual(names(await api.get("/api/v1/pods?fieldSelector=metadata.namespace%3Dkube-system")), []);
    await api.ok("POST", "/api/v1/namespaces/default/events", {
      body: { metadata: { name: "e1" }, involvedObject: { kind: "Node", name: "a" }, reason: "Refused" },
    });
    const of = (name: string) =>
      `/api/v1/events?fieldSelector=involvedObject.kind%3DNode,involvedObject.name%3D${name}`;
    assert.deepEqual([names(await api.get(of("a"))), names(await api.get(of("b")))], [["e1"], []]);
  });
});
