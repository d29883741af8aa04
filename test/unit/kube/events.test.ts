import assert from "node:assert/strict";
import { connect, type KubeClient, type NodeEvent, NodeEvents } from "../../../src/kube/index.ts";
import { answer, ScriptedApi, status } from "./scripted-api.ts";

const refused: NodeEvent = { node: "me", type: "Warning", reason: "PeerRefused", message: "node b: bad annotation" };

describe("kube: Events on a Node", () => {
  let api: ScriptedApi;
  let client: KubeClient;
  let now: number;
  let events: NodeEvents;
  const body = (at: number) => JSON.parse(api.seen[at]?.body ?? "") as Record<string, unknown>;

  beforeEach(async () => {
    api = await new ScriptedApi().listen();
    client = connect({ kubeconfig: api.kubeconfig() });
    now = Date.parse("2026-01-31T09:00:00Z");
    events = new NodeEvents(client, { now: () => now, retryMs: 2 });
  });
  afterEach(async () => {
    await events.stop();
    await client.close();
    await api.close();
  });

  it("writes what `kubectl describe node` looks for", async () => {
    api.script.push(answer({}, 201));
    events.emit(refused);
    await events.idle();
    assert.deepEqual([api.seen[0]?.method, api.seen[0]?.path], ["POST", "/api/v1/namespaces/default/events"]);
    const { metadata, ...rest } = body(0);
    assert.match((metadata as { name: string }).name, /^me\.[0-9a-f]{8,}$/);
    assert.deepEqual(rest, {
      apiVersion: "v1",
      kind: "Event",
      involvedObject: { apiVersion: "v1", kind: "Node", name: "me", uid: "me" },
      type: "Warning",
      reason: "PeerRefused",
      message: "node b: bad annotation",
      source: { component: "skylane-agent", host: "me" },
      reportingComponent: "skylane-agent",
      reportingInstance: "me",
      firstTimestamp: "2026-01-31T09:00:00Z",
      lastTimestamp: "2026-01-31T09:00:00Z",
      count: 1,
    });
  });

  it("counts a repeated one up in the same object, and begins another once that has expired", async () => {
    api.script.push(answer({}, 201), answer({}), answer(status(404, "NotFound"), 404), answer({}, 201));
    events.emit(refused);
    await events.idle();
    now += 60_000;
    for (let i = 0; i < 5; i++) events.emit(refused);
    await events.idle();
    assert.equal(api.seen.length, 2, "five at once are one patch");
    assert.equal(api.seen[1]?.method, "PATCH");
    assert.equal(api.seen[1]?.headers["content-type"], "application/merge-patch+json");
    assert.deepEqual(body(1), { count: 6, lastTimestamp: "2026-01-31T09:01:00Z" });
    events.emit(refused);
    await events.idle();
    assert.deepEqual([api.seen[2]?.method, api.seen[3]?.method], ["PATCH", "POST"]);
    assert.equal(body(3)["count"], 7);
  });

  it("tries again when the server is not well, then gives up without a word to the caller", async () => {
    api.script.push(
      answer(status(500, "InternalError"), 500),
      answer(status(429, "TooManyRequests"), 429),
      answer({}, 201),
    );
    events.emit(refused);
    await events.idle();
    assert.equal(events.dropped, 0);
    api.script.push(...Array.from({ length: 4 }, () => answer(status(500, "InternalError"), 500)));
    events.emit({ ...refused, message: "another" });
    await events.idle();
    assert.equal(events.dropped, 1);
    api.script.push(answer(status(403, "Forbidden"), 403));
    events.emit({ ...refused, message: "a third" });
    await events.idle();
    assert.equal(events.dropped, 2);
    assert.equal(api.seen.length, 8);
  });

  it("takes its own object for written when only the answer was lost", async () => {
    api.script.push((response) => response.destroy(), answer(status(409, "AlreadyExists"), 409), answer({}));
    events.emit(refused);
    await events.idle();
    events.emit(refused);
    await events.idle();
    assert.deepEqual(
      api.seen.map((one) => one.method),
      ["POST", "POST", "PATCH"],
    );
  });

  it("cuts a flood off, and a long message between characters", async () => {
    api.script.push(...Array.from({ length: 26 }, () => answer({}, 201)));
    for (let i = 0; i < 100; i++) events.emit({ ...refused, message: `${i}${"ü".repeat(2000)}` });
    await events.idle();
    assert.equal(api.seen.length, 25);
    assert.equal(events.dropped, 75);
    const message = body(0)["message"] as string;
    assert.ok(Buffer.byteLength(message) <= 1024 && message.endsWith("ü…"), message.slice(-5));
    now += 31_000;
    events.emit(refused);
    await events.idle();
    assert.equal(api.seen.length, 26);
  });
});
