import assert from "node:assert/strict";
import { type Changes, connect, type KubeClient, type NodeMeta, NodeReflector } from "../../../src/kube/index.ts";
import { WatchStalled } from "../../../src/kube/client/watch.ts";
import { Reflector } from "../../../src/kube/informer/reflector.ts";
import { sameNode, transformNode } from "../../../src/kube/informer/transform.ts";
import { eventually } from "../../support/eventually.ts";
import {
  answer,
  bookmark,
  event,
  node,
  page,
  ScriptedApi,
  type Step,
  status,
  watch,
  watchList,
} from "./scripted-api.ts";

/** Small waits; the limits that a test is about are set by it. */
const QUICK = {
  baseMs: 2,
  capMs: 8,
  stableMs: 0,
  timeoutSeconds: 60,
  marginMs: 60_000,
  bookmarkMs: 60_000,
  initialMs: 60_000,
  random: () => 0,
};
const vtep = (value: string) => ({ annotations: { "skylane.dev/vtep": value } });

describe("kube: the reflector of Nodes", () => {
  let api: ScriptedApi;
  let client: KubeClient;
  let reflector: NodeReflector;
  let batches: Changes<NodeMeta>[];
  const warnings: [string, Readonly<Record<string, unknown>>][] = [];

  beforeEach(async () => {
    api = await new ScriptedApi().listen();
    client = connect({ kubeconfig: api.kubeconfig() });
    batches = [];
    warnings.length = 0;
  });
  afterEach(async () => {
    await reflector.stop();
    await client.close();
    await api.close();
  });

  const silent = () => undefined;
  function begin(timings = {}, ...steps: Step[]): void {
    api.script.push(...steps);
    const warn = (message: string, fields: Readonly<Record<string, unknown>> = {}) =>
      void warnings.push([message, fields]);
    reflector = new NodeReflector(client, {
      timings: { ...QUICK, ...timings },
      log: { error: warn, warn, info: silent, debug: silent },
    });
    reflector.onChange((changes) => batches.push(changes));
    reflector.start();
  }
  const names = (list: readonly { name: string }[] | undefined) => list?.map((one) => one.name).toSorted();
  const known = () => [...reflector.nodes().keys()].toSorted();
  const batch = (count: number) => eventually(() => batches.length >= count, { message: `no batch ${count}` });

  it("takes the first set from a streaming list, in one batch, asking for metadata only", async () => {
    begin({}, watchList([node("a", vtep("A")), node("b")], "10"));
    await reflector.whenSynced();
    await batch(1);
    assert.deepEqual(names(batches[0]?.added), ["a", "b"]);
    const [request] = api.seen;
    assert.equal(request?.path, "/api/v1/nodes");
    assert.equal(request?.query.get("sendInitialEvents"), "true");
    assert.equal(request?.query.get("resourceVersionMatch"), "NotOlderThan");
    assert.equal(request?.query.get("allowWatchBookmarks"), "true");
    assert.deepEqual((request?.headers.accept ?? "").split(","), [
      "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
      "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
      "application/json",
    ]);
    assert.deepEqual(reflector.nodes().get("a"), {
      name: "a",
      uid: "uid-a",
      resourceVersion: "1",
      creationTimestamp: "2026-01-01T00:00:00Z",
      annotations: { "skylane.dev/vtep": "A" },
    });
    assert.equal(reflector.state.mode, "watchlist");
    assert.equal(reflector.state.connected, true);
  });

  it("takes its first pages from the server's memory, and later ones as they are stored", async () => {
    const expired = status(410, "Expired");
    begin(
      {},
      answer(status(422, "Invalid"), 422),
      page([node("a")], "10"),
      watch(event("ERROR", expired)),
      page([node("a"), node("b")], "20"),
      watch(),
    );
    await eventually(() => known().length === 2);
    const lists = api.seen.filter(({ query }) => query.has("limit"));
    assert.deepEqual(
      lists.map(({ query }) => query.get("resourceVersion")),
      ["0", null],
    );
  });

  it("tells an empty first set too", async () => {
    begin({}, watchList([], "10"));
    await batch(1);
    assert.deepEqual(batches, [{ added: [], changed: [], removed: [], ended: [] }]);
  });

  it("follows additions, changes and deletions, a burst as one net batch, and is silent about heartbeats", async () => {
    begin({}, watchList([node("a", vtep("A")), node("b", vtep("B"))], "10"));
    await batch(1);
    api.stream.write(
      event("ADDED", node("c", { version: "11" })) +
        event("MODIFIED", node("a", { version: "12", ...vtep("A") })) +
        event("MODIFIED", node("b", { version: "13", ...vtep("B1") })) +
        event("MODIFIED", node("b", { version: "14", ...vtep("B2") })) +
        event("ADDED", node("d", { version: "15" })) +
        event("DELETED", node("d", { version: "16" })),
    );
    await batch(2);
    assert.deepEqual(names(batches[1]?.added), ["c"]);
    assert.deepEqual(
      batches[1]?.changed.map(({ before, after }) => [before.annotations, after.annotations]),
      [[{ "skylane.dev/vtep": "B" }, { "skylane.dev/vtep": "B2" }]],
    );
    assert.deepEqual(batches[1]?.removed, []);
    assert.deepEqual(names(batches[1]?.ended), ["d"]);
    assert.equal(reflector.nodes().get("a")?.resourceVersion, "12", "a heartbeat brings its resourceVersion");
    api.stream.write(
      event("MODIFIED", node("a", { version: "17", ...vtep("A") })) +
        event("MODIFIED", node("b", { version: "18", ...vtep("B3") })) +
        event("DELETED", node("b", { version: "19" })),
    );
    await batch(3);
    assert.deepEqual(names(batches[2]?.removed), ["b"]);
    assert.deepEqual(batches[2]?.changed, []);
    // As it was when it ended, and not as it was when something was told last.
    assert.deepEqual(batches[2]?.ended[0]?.annotations, { "skylane.dev/vtep": "B3" });
    assert.equal(reflector.state.events, 11);
  });

  it("lists in pages and watches where the server refuses streaming lists", async () => {
    begin(
      {},
      answer(status(422, "Invalid"), 422),
      page([node("a")], "20", "next/1"),
      page([node("b")], "20"),
      watch(event("ADDED", node("c", { version: "21" }))),
    );
    await batch(1);
    await eventually(() => reflector.nodes().has("c"));
    assert.deepEqual(known(), ["a", "b", "c"]);
    assert.equal(api.seen[1]?.query.get("limit"), "500");
    assert.match(api.seen[1]?.headers.accept ?? "", /as=PartialObjectMetadataList/);
    assert.equal(api.seen[2]?.query.get("continue"), "next/1");
    assert.equal(api.seen[3]?.query.get("resourceVersion"), "20");
    assert.equal(api.seen[3]?.query.get("sendInitialEvents"), null);
    assert.equal(reflector.state.mode, "list");
  });

  it("lists in pages where an older server takes a streaming list for a plain watch", async () => {
    begin({ initialMs: 50 }, watch(event("ADDED", node("a"))), page([node("a"), node("b")], "20"), watch());
    await batch(1);
    assert.deepEqual(known(), ["a", "b"]);
    assert.equal(reflector.state.relists, 1);
  });

  it("lists in pages where streaming lists break before their end, time and again", async () => {
    const broken: Step = (response, request) => {
      watch(event("ADDED", node("a")))(response, request);
      setImmediate(() => response.destroy());
    };
    begin({}, broken, broken, page([node("a"), node("b")], "20"), watch());
    await batch(1);
    assert.deepEqual(known(), ["a", "b"]);
    assert.deepEqual([reflector.state.mode, reflector.state.relists], ["list", 1]);
  });

  it("begins a paged list anew when its continue token has expired", async () => {
    begin(
      {},
      answer(status(400, "BadRequest"), 400),
      page([node("a")], "20", "t1"),
      answer(status(410, "Expired"), 410),
      page([node("a")], "30", "t2"),
      page([node("b")], "30"),
      watch(),
    );
    await batch(1);
    assert.deepEqual(names(batches[0]?.added), ["a", "b"]);
    assert.equal(reflector.state.relists, 1);
    assert.equal(api.seen[3]?.query.get("continue"), null);
  });

  it("resumes from the last event after a cut connection, without a new list", async () => {
    begin({}, watchList([node("a")], "10"), watch(event("ADDED", node("c", { version: "13" }))));
    await batch(1);
    api.stream.write(event("ADDED", node("b", { version: "11" })) + bookmark("12"));
    await batch(2);
    api.cut();
    await batch(3);
    assert.equal(api.seen[1]?.query.get("resourceVersion"), "12");
    assert.deepEqual(known(), ["a", "b", "c"]);
    assert.equal(reflector.state.relists, 1);
  });

  it("resumes when the server ends the watch, as it does every few minutes", async () => {
    begin({}, watchList([node("a")], "10"), watch(event("ADDED", node("b", { version: "11" }))));
    await batch(1);
    api.stream.end();
    await batch(2);
    assert.equal(api.seen[1]?.query.get("resourceVersion"), "10");
    assert.equal(reflector.state.errors, 0);
  });

  it("takes the whole set anew after 410 inside the watch and after 410 to its request", async () => {
    begin(
      {},
      watchList([node("a")], "10"),
      watchList([node("a"), node("b")], "20"),
      answer(status(410, "Expired"), 410),
      watchList([node("a"), node("b"), node("c")], "30"),
    );
    await batch(1);
    api.stream.write(event("ERROR", status(410, "Expired")));
    await batch(2);
    assert.equal(api.seen[1]?.query.get("sendInitialEvents"), "true");
    api.cut();
    await batch(3);
    assert.deepEqual(known(), ["a", "b", "c"]);
    assert.equal(reflector.state.relists, 3);
  });

  it("waits as long as Retry-After says, and gets over 401, 403, 429 and 500", async () => {
    begin(
      {},
      answer(status(401, "Unauthorized"), 401),
      answer(status(403, "Forbidden"), 403),
      answer(status(500, "InternalError"), 500),
      answer("no JSON object", 503),
      answer(status(429, "TooManyRequests"), 429, { "retry-after": "1" }),
      watchList([node("a")], "10"),
    );
    await batch(1);
    assert.equal(reflector.state.errors, 5);
    const waits = warnings.map(([, fields]) => fields["retryMs"] as number);
    assert.ok((waits[4] as number) >= 1000 && waits.slice(0, 4).every((ms) => ms <= 8), `waits: ${waits.join(", ")}`);
    assert.equal(reflector.state.lastError, undefined);
  });

  it("reconnects when the stream falls silent", async () => {
    begin({ bookmarkMs: 60 }, watchList([node("a")], "10"), watch(event("ADDED", node("b", { version: "11" }))));
    await batch(2);
    assert.equal(api.seen[1]?.query.get("resourceVersion"), "10");
    assert.match(
      warnings[0]?.[1]["error"] instanceof WatchStalled ? warnings[0][1]["error"].message : "",
      /silent for 60 ms/,
    );
  });

  it("comes back when the server was not there at all", async () => {
    const { port } = api;
    await api.close();
    begin({});
    await eventually(() => reflector.state.errors >= 3);
    assert.equal(reflector.state.connected, false);
    assert.match(reflector.state.lastError ?? "", /ECONNREFUSED/);
    api = new ScriptedApi();
    api.script.push(watchList([node("a")], "10"));
    await api.listen(port);
    await batch(1);
    assert.deepEqual(known(), ["a"]);
  });

  it("keeps every peer when a new list comes back empty, until the server says of each that it is gone", async () => {
    const gone = new Set<string>();
    let asked = 0;
    api.objects = (name) => {
      asked++;
      if (gone.has(name)) return answer(status(404, "NotFound", name), 404);
      // An error, a 404 of something else, and a page of a proxy: none of them is a reason to remove anything.
      return [answer(status(500, "InternalError"), 500), answer(status(404, "NotFound"), 404), answer("<html>", 404)][
        asked % 3
      ] as Step;
    };
    begin({}, watchList([node("a"), node("b"), node("c")], "10"), watchList([], "20"));
    await batch(1);
    api.stream.write(event("ERROR", status(410, "Expired")));
    await eventually(() => asked >= 9);
    assert.deepEqual(known(), ["a", "b", "c"]);
    assert.equal(reflector.state.unconfirmed, 3);
    gone.add("b");
    await eventually(() => batches.some((one) => one.removed.length > 0));
    assert.deepEqual(known(), ["a", "c"]);
    // Nobody has seen what it was at last.
    assert.ok(batches.every(({ ended }) => ended.length === 0));
    assert.equal(reflector.state.unconfirmed, 2);
  });

  it("takes over what a partial list left out as the server gives it when asked, and takes the list anew", async () => {
    api.objects = (name) => answer(node(name, { version: "19", ...vtep("new") }));
    begin({}, watchList([node("a"), node("b", vtep("old"))], "10"), watchList([node("a")], "20"));
    // What else the bad list hid, nobody could have asked for: a node that was never heard of.
    api.script.push(watchList([node("a"), node("b", { version: "19", ...vtep("new") }), node("new")], "21"));
    await batch(1);
    api.stream.write(event("ERROR", status(410, "Expired")));
    await eventually(() => batches.some((one) => one.changed.length === 1));
    assert.equal(reflector.nodes().get("b")?.annotations["skylane.dev/vtep"], "new");
    await eventually(() => reflector.nodes().has("new"));
    assert.deepEqual(known(), ["a", "b", "new"]);
    assert.equal(batches.flatMap((one) => one.removed).length, 0);
    assert.deepEqual([reflector.state.unconfirmed, reflector.state.relists], [0, 3]);
  });

  it("does not let an old answer undo a newer event", async () => {
    let late: (() => void) | undefined;
    api.objects = (name) => (response, request) => {
      late = () => answer(status(404, "NotFound", name), 404)(response, request);
    };
    begin({}, watchList([node("a"), node("b")], "10"), watchList([node("a")], "20"));
    await batch(1);
    api.stream.write(event("ERROR", status(410, "Expired")));
    await eventually(() => late !== undefined);
    const stream = api.responses.findLast((_, at) => api.seen[at]?.query.has("watch") === true);
    stream?.write(event("ADDED", node("b", { uid: "uid-b2", version: "21" })));
    await eventually(() => reflector.nodes().get("b")?.uid === "uid-b2");
    late?.();
    stream?.write(event("ADDED", node("z", { version: "22" })));
    await eventually(() => reflector.nodes().has("z"));
    assert.deepEqual(known(), ["a", "b", "z"]);
  });

  it("asks for at most eight at once", async () => {
    let open = 0;
    let most = 0;
    api.objects = (name) => (response, request) => {
      most = Math.max(most, ++open);
      setImmediate(() => {
        open--;
        answer(status(404, "NotFound", name), 404)(response, request);
      });
    };
    const many = Array.from({ length: 60 }, (_, i) => node(`n${i}`));
    begin({}, watchList(many, "10"), watchList([], "20"));
    await batch(1);
    api.stream.write(event("ERROR", status(410, "Expired")));
    await eventually(() => reflector.nodes().size === 0);
    assert.ok(most <= 8, `${most} at once`);
  });

  it("tells a Node that was deleted and made again during a gap as a change", async () => {
    begin({}, watchList([node("a")], "10"), watchList([node("a", { uid: "uid-a2", version: "19" })], "20"));
    await batch(1);
    api.stream.write(event("ERROR", status(410, "Expired")));
    await eventually(() => batches.some((one) => one.changed.length > 0));
    const [change] = batches.flatMap((one) => one.changed);
    assert.deepEqual([change?.before.uid, change?.after.uid], ["uid-a", "uid-a2"]);
  });

  it("survives lines and objects that make no sense, and takes the whole set anew afterwards", async () => {
    begin({}, watchList([node("a")], "10"), watchList([node("a"), node("b"), node("c")], "20"));
    await batch(1);
    api.stream.write(
      `garbage\n\n{}\nnull\n[1]\n"x"\n${event("ADDED", 5)}${event("ADDED", {})}${event("MODIFIED", { metadata: { name: 7 } })}` +
        `${event("SURPRISE", node("x"))}${event("DELETED", { metadata: {} })}${event("ADDED", node("b", { version: "11" }))}`,
    );
    await batch(2);
    assert.deepEqual(known(), ["a", "b"]);
    assert.equal(reflector.state.malformed, 10);
    // Beside the first one that of the one which has a name.
    assert.equal(warnings.length, 2, "not ten warnings");
    api.stream.end();
    await eventually(() => reflector.nodes().has("c"));
    assert.equal(api.seen[1]?.query.get("sendInitialEvents"), "true");
  });

  it("leaves a malformed object of a list out and asks for it", async () => {
    api.objects = (name) => answer(node(name, vtep("whole")));
    begin({}, watchList([node("a"), node("b")], "10"), watchList([node("a"), { metadata: { name: "b" } }], "20"));
    await batch(1);
    api.stream.write(event("ERROR", status(410, "Expired")));
    await eventually(() => reflector.nodes().get("b")?.annotations["skylane.dev/vtep"] === "whole");
  });

  it("cuts lines wherever the network does", async () => {
    const text =
      event("ADDED", node("ü", { version: "11", ...vtep("→✓") })) + event("ADDED", node("z", { version: "12" }));
    begin({}, watchList([node("a")], "10"));
    await batch(1);
    const stream = api.stream;
    for (const byte of Buffer.from(text)) {
      await new Promise<void>((resolve) => stream.write(Buffer.of(byte), () => resolve()));
    }
    await eventually(() => reflector.nodes().has("z"));
    assert.equal(reflector.nodes().get("ü")?.annotations["skylane.dev/vtep"], "→✓");
  });

  it("takes the whole set anew when the server's data went back in time", async () => {
    api.objects = (name) => answer(status(404, "NotFound", name), 404);
    begin({}, watchList([node("a"), node("b")], "1000"), watchList([node("a")], "500"), watch());
    await batch(1);
    api.stream.write(bookmark("999"));
    await eventually(() => !reflector.nodes().has("b"));
    assert.equal(api.seen[1]?.query.get("sendInitialEvents"), "true");
  });

  it("is not stopped by a listener that throws", async () => {
    begin({}, watchList([node("a")], "10"));
    reflector.onChange(() => {
      throw new Error("listener");
    });
    await batch(1);
    api.stream.write(event("ADDED", node("b", { version: "11" })));
    await batch(2);
    assert.match(warnings[0]?.[0] ?? "", /listener/);
  });

  it("stops at once, also in the middle of an answer or a wait, and calls nobody any more", async () => {
    begin({}, (response) => response.flushHeaders());
    await api.requests(1);
    await reflector.stop();
    assert.equal(batches.length, 0);
    assert.equal(reflector.state.connected, false);

    begin({ baseMs: 3_600_000, capMs: 3_600_000 }, answer(status(500, "InternalError"), 500));
    await eventually(() => reflector.state.errors === 1);
    await reflector.stop();
  });

  it("counts no failure where it hangs up itself, as the server may know the later version by now", async () => {
    const later = "/apis/example.org/v2/things";
    const source = {
      what: "things",
      path: later,
      olderPath: "/apis/example.org/v1/things",
      query: {},
      accept: { object: "application/json", list: "application/json", watch: "application/json" },
      transform: transformNode,
      same: sameNode,
    };
    const asked: string[] = [];
    const noted =
      (step: Step): Step =>
      (response, request) => {
        asked.push(request.path);
        step(response, request);
      };
    const silence: Step = () => undefined;
    api.script.push(noted(answer(status(404, "NotFound"), 404)), noted(silence), noted(watchList([node("a")], "10")));
    const warn = (message: string): void => void warnings.push([message, {}]);
    const things = new Reflector(client, source, {
      timings: QUICK,
      log: { error: warn, warn, info: silent, debug: silent },
    });
    reflector = things as unknown as NodeReflector;
    things.start();
    await eventually(() => asked.length === 2, { message: "the older version is not asked for" });
    things.lookAgain();
    await things.whenSynced();
    assert.deepEqual(asked, [later, source.olderPath, later]);
    assert.deepEqual([warnings, things.state.errors, [...things.objects.keys()]], [[], 0, ["a"]]);
  });
});
