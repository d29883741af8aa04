import assert from "node:assert/strict";
import { eventually } from "../../support/eventually.ts";
import { MERGE, type Reply, TestApi } from "./support.ts";

const NODES = "/api/v1/nodes";
const WATCH_LIST = `${NODES}?sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true`;

function names(reply: Reply): string[] {
  return reply.body.items.map((item) => item.metadata.name);
}

describe("lab API: faults", () => {
  let api: TestApi;
  beforeEach(async () => {
    api = await TestApi.start();
    for (const name of ["a", "b", "c"]) await api.node(name);
  });
  afterEach(() => api.server.close());

  it("answers with errors: so often, and only what matches", async () => {
    await api.server.faults.set({
      rules: [
        {
          match: { verbs: ["list"], resources: ["nodes"] },
          times: 2,
          action: { kind: "status", code: 429, retryAfterSeconds: 3 },
        },
        { match: { verbs: ["patch"] }, action: { kind: "status", code: 500 } },
      ],
    });
    const limited = await api.get(NODES);
    assert.deepEqual(
      [limited.code, limited.body.reason, limited.headers.get("retry-after")],
      [429, "TooManyRequests", "3"],
    );
    assert.equal((await api.get(`${NODES}/a`)).code, 200);
    assert.equal((await api.get("/api/v1/pods")).code, 200);
    assert.equal((await api.get(NODES)).code, 429);
    assert.equal((await api.get(NODES)).code, 200);
    for (let n = 0; n < 3; n += 1) {
      const reply = await api.ask("PATCH", `${NODES}/a`, { body: {}, contentType: MERGE });
      assert.deepEqual([reply.code, reply.body.reason], [500, "InternalError"]);
    }
    assert.deepEqual(
      api.server.faults.state().rules.map(({ hits }) => hits),
      [2, 3],
    );
    await api.server.faults.clear();
    assert.equal((await api.ask("PATCH", `${NODES}/a`, { body: {}, contentType: MERGE })).code, 200);
  });

  it("knows every error that the real server gives", async () => {
    const reasons = {
      401: "Unauthorized",
      410: "Expired",
      429: "TooManyRequests",
      500: "InternalError",
      503: "ServiceUnavailable",
      504: "Timeout",
    };
    for (const [code, reason] of Object.entries(reasons)) {
      await api.server.faults.set({ rules: [{ times: 1, action: { kind: "status", code: Number(code) } }] });
      const reply = await api.get(NODES);
      assert.deepEqual(
        [reply.code, reply.body.kind, reply.body.code, reply.body.reason],
        [Number(code), "Status", Number(code), reason],
      );
    }
  });

  it("is set over HTTP as well, by administrators, and says what is wrong", async () => {
    const rules = [{ match: { verbs: ["get"] }, times: 1, action: { kind: "status", code: 503 } }];
    const set = await api.ask("POST", "/lab/faults", { body: { rules } });
    assert.equal(set.code, 200);
    assert.equal((await api.get(`${NODES}/a`)).code, 503);
    const state = (await api.get("/lab/faults")).body.rules as { hits: number }[];
    assert.equal(state[0]?.hits, 1);
    const wrong = await api.ask("POST", "/lab/faults", {
      body: { rules: [{ action: { kind: "status", code: 200 } }] },
    });
    assert.equal(wrong.code, 400);
    assert.match(wrong.body.message, /fault settings: rules\.0\.action\.code/);
    assert.equal((await api.ask("POST", "/lab/faults", { body: { odd: true } })).code, 400);
    assert.equal((await api.ask("DELETE", "/lab/faults")).code, 200);
    assert.deepEqual((await api.get("/lab/faults")).body.rules, []);
    const { requests } = (await api.get("/lab/stats")).body as unknown as { requests: Record<string, number> };
    assert.equal(requests["get nodes 503"], 1);
  });

  it("stalls requests until told otherwise, and breaks connections", async () => {
    await api.server.faults.set({ rules: [{ match: { names: ["a"] }, action: { kind: "stall" } }] });
    const stalled = api.get(`${NODES}/a`);
    stalled.catch(() => undefined);
    assert.equal((await api.get(`${NODES}/b`)).code, 200);
    await eventually(() => api.server.faults.state().rules[0]?.hits === 1);
    await api.server.faults.set({ rules: [{ times: 1, action: { kind: "reset" } }] });
    await assert.rejects(stalled, TypeError);
    await assert.rejects(api.get(`${NODES}/b`), TypeError);
    assert.equal((await api.get(`${NODES}/b`)).code, 200);
  });

  it("delays", async () => {
    await api.server.faults.set({ rules: [{ action: { kind: "delay", ms: 60 } }] });
    const start = performance.now();
    await api.get(NODES);
    assert.ok(performance.now() - start >= 55);
  });

  it("shows an empty or a partial list, in lists and initial events, while objects are there", async () => {
    await api.server.faults.set({ rules: [{ action: { kind: "empty-list" } }] });
    assert.deepEqual(names(await api.get(NODES)), []);
    const empty = await api.watch(WATCH_LIST);
    assert.equal((await empty.next()).type, "BOOKMARK");
    empty.close();
    assert.equal((await api.get(`${NODES}/a`)).code, 200);
    await api.server.faults.set({ rules: [{ action: { kind: "partial-list", omit: ["b"] } }] });
    assert.deepEqual(names(await api.get(NODES)), ["a", "c"]);
    assert.deepEqual(names(await api.get(`${NODES}?limit=1`)), ["a"]);
    await api.server.faults.set({ rules: [{ action: { kind: "partial-list", keep: 1 } }] });
    assert.deepEqual(names(await api.get(NODES)), ["a"]);
    const partial = await api.watch(NODES);
    await api.annotate("c", { x: "1" });
    assert.deepEqual(await partial.brief(2), ["ADDED a", "MODIFIED c"]);
    partial.close();
  });

  it("drops, expires and corrupts open watches", async () => {
    const from = `${NODES}?resourceVersion=${api.server.store.resourceVersion}`;
    const ended = await api.watch(from);
    await api.server.faults.set({ dropWatches: "end" });
    assert.equal(await ended.line(), undefined);
    const reset = await api.watch(from);
    await api.server.faults.set({ dropWatches: "reset" });
    await assert.rejects(reset.line(), TypeError);
    const expired = await api.watch(from);
    await api.server.faults.set({ expireWatches: true });
    assert.equal((await expired.next()).object.code, 410);
    assert.equal(await expired.line(), undefined);
    const garbage = await api.watch(from);
    await api.server.faults.set({ corruptWatches: "garbage" });
    await api.annotate("a", { x: "1" });
    const line = await garbage.line();
    assert.throws(() => JSON.parse(line ?? ""), SyntaxError);
    assert.deepEqual(await garbage.brief(1), ["MODIFIED a"]);
    await api.server.faults.set({ corruptWatches: "truncate" });
    const half = await garbage.line();
    assert.throws(() => JSON.parse(half ?? ""), SyntaxError);
    assert.equal(await garbage.line(), undefined);
  });

  it("stalls open watches, which catch up afterwards", async () => {
    const watch = await api.watch(`${NODES}?resourceVersion=${api.server.store.resourceVersion}`);
    await api.server.faults.set({ stallWatches: true });
    await api.node("d");
    await api.annotate("d", { x: "1" });
    let came = false;
    const next = watch.brief(2).then((events) => {
      came = true;
      return events;
    });
    await api.get(NODES);
    await api.get(NODES);
    assert.equal(came, false);
    await api.server.faults.set({ stallWatches: false });
    assert.deepEqual(await next, ["ADDED d", "MODIFIED d"]);
    watch.close();
  });

  it("compacts, refuses WatchList, and withholds bookmarks", async () => {
    const { resourceVersion } = (await api.get(NODES)).body.metadata;
    await api.annotate("a", { x: "1" });
    await api.server.faults.set({ compact: true, watchList: false, bookmarks: false });
    const watch = await api.watch(`${NODES}?resourceVersion=${resourceVersion}`);
    assert.equal((await watch.next()).object.code, 410);
    const refused = await api.get(`${WATCH_LIST}&watch=1`);
    assert.equal(refused.code, 422);
    assert.match(
      refused.body.message,
      /sendInitialEvents is forbidden for watch unless the WatchList feature gate is enabled/,
    );
    assert.deepEqual(api.server.faults.state(), { rules: [], stallWatches: false, bookmarks: false, watchList: false });
  });

  it("goes away and comes back on the same port with the same objects", async () => {
    const watch = await api.watch(`${NODES}?resourceVersion=${api.server.store.resourceVersion}`);
    await api.server.faults.set({ away: true });
    await assert.rejects(watch.line(), TypeError);
    await assert.rejects(api.get(NODES), TypeError);
    await api.server.faults.set({ away: false });
    assert.deepEqual(names(await api.get(NODES)), ["a", "b", "c"]);
    // Over HTTP the answer comes before the socket closes.
    const reply = await api.ask("POST", "/lab/faults", { body: { away: { ms: 50 } } });
    assert.equal(reply.code, 200);
    await eventually(async () => {
      await api.get(NODES).then(
        () => assert.fail("still there"),
        (error: unknown) => assert.ok(error instanceof TypeError),
      );
      return true;
    });
    await eventually(async () => (await api.get(NODES)).code === 200);
  });
});
