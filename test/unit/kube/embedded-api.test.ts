/** The kube folder against the lab's API server, which behaves like the real one and misbehaves on demand, over TLS. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ApiError,
  connect,
  type KubeClient,
  NodeEvents,
  NodeReflector,
  OwnNode,
  patchNodeAnnotations,
} from "../../../src/kube/index.ts";
import { type ApiServer, startApiServer } from "../../../lab/api/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";

const NODES = "/api/v1/nodes";
const timings = { baseMs: 2, capMs: 20, stableMs: 0, initialMs: 5_000, bookmarkMs: 5_000 };

describe("kube against an API server", () => {
  let folder: string;
  let api: ApiServer;
  let client: KubeClient;
  let reflector: NodeReflector;
  const removed: string[] = [];

  before(() => {
    folder = mkdtempSync(join(tmpdir(), "skylane-embedded-"));
  });
  after(() => rmSync(folder, { recursive: true, force: true }));
  beforeEach(async () => {
    api = await startApiServer({ host: "127.0.0.1", bookmarkIntervalMs: 50, historyLimit: 50 });
    const kubeconfig = join(folder, "kubeconfig");
    writeFileSync(kubeconfig, api.kubeconfig());
    client = connect({ kubeconfig });
    removed.length = 0;
    reflector = new NodeReflector(client, { timings });
    reflector.onChange((changes) => removed.push(...changes.removed.map((one) => one.name)));
  });
  afterEach(async () => {
    await reflector.stop();
    await client.close();
    await api.close();
  });

  const create = (name: string) =>
    client.json({ method: "POST", path: NODES, body: { apiVersion: "v1", kind: "Node", metadata: { name } } });
  const remove = (name: string) => api.store.remove(api.type("nodes"), name);
  const existing = (): Map<string, string> =>
    new Map(api.store.list(api.type("nodes")).map(({ object }) => [object.metadata.name, object.metadata.uid ?? ""]));
  const seen = () => new Map([...reflector.nodes().values()].map((one) => [one.name, one.uid]));
  const agrees = () => assert.deepEqual(seen(), existing());

  it("syncs by a streaming list and by pages, and follows", async () => {
    for (let i = 0; i < 3; i++) await create(`n${i}`);
    reflector.start();
    await reflector.whenSynced();
    assert.equal(reflector.state.mode, "watchlist");
    await patchNodeAnnotations(client, "n1", { "skylane.dev/vtep": "{}" });
    await create("n3");
    remove("n0");
    await eventuallyHolds(agrees);
    assert.equal(reflector.nodes().get("n1")?.annotations["skylane.dev/vtep"], "{}");

    await api.faults.set({ watchList: false });
    const paged = new NodeReflector(client, { timings });
    paged.start();
    await paged.whenSynced();
    assert.equal(paged.state.mode, "list");
    assert.deepEqual([...paged.nodes().keys()].toSorted(), ["n1", "n2", "n3"]);
    await paged.stop();
  });

  it("never loses a peer that is there, whatever the server does, and agrees with it in the end", async function () {
    this.timeout(30_000);
    // A generator of its own, so that a failure can be run again.
    let seed = 20_260_131;
    const random = (below: number): number => {
      seed = (Math.imul(seed, 1_103_515_245) + 12_345) & 0x7fffffff;
      return (seed >>> 8) % below;
    };
    const permanent = Array.from({ length: 12 }, (_, i) => `stays-${i}`);
    for (const name of permanent) await create(name);
    reflector.start();
    await reflector.whenSynced();

    const lists = { verbs: ["list", "watch"], resources: ["nodes"] };
    const faults: (() => Promise<void>)[] = [
      () => api.faults.set({ dropWatches: "reset" }),
      () => api.faults.set({ dropWatches: "end" }),
      () => api.faults.set({ corruptWatches: "garbage" }),
      () => api.faults.set({ corruptWatches: "truncate" }),
      () => api.faults.set({ expireWatches: true }),
      () => api.faults.set({ compact: true, dropWatches: "reset" }),
      () => api.faults.set({ watchList: random(2) === 0 }),
      () =>
        api.faults.set({ rules: [{ match: lists, times: 2, action: { kind: "empty-list" } }], expireWatches: true }),
      () =>
        api.faults.set({
          rules: [{ match: lists, times: 2, action: { kind: "partial-list", keep: 3 } }],
          expireWatches: true,
        }),
      () =>
        api.faults.set({
          rules: [{ times: 2, action: { kind: "status", code: [401, 403, 429, 500, 503][random(5)] as number } }],
          dropWatches: "reset",
        }),
      () => api.faults.set({ rules: [{ times: 2, action: { kind: "reset" } }], dropWatches: "reset" }),
      () => api.faults.set({ away: { ms: 20 } }),
    ];
    const types = api.type("nodes");
    let next = 0;
    const passing: string[] = [];
    for (let step = 0; step < 150; step++) {
      if (random(3) === 0) await faults[random(faults.length)]?.();
      const name = `comes-${random(2) === 0 ? next++ : random(Math.max(1, next))}`;
      if (passing.includes(name)) {
        remove(name);
        passing.splice(passing.indexOf(name), 1);
      } else {
        api.store.put(types, name, {
          apiVersion: "v1",
          kind: "Node",
          metadata: { name, uid: `${name}-${step}`, creationTimestamp: "2026-01-01T00:00:00Z" },
        });
        passing.push(name);
      }
      for (let turns = random(30); turns >= 0; turns--) await new Promise(setImmediate);
      // The map must hold every permanent node at every moment after the first sync.
      for (const one of permanent) assert.ok(reflector.nodes().has(one), `${one} was lost in step ${step}`);
    }
    await api.faults.clear();
    await eventuallyHolds(agrees, { timeoutMs: 10_000 });
    assert.deepEqual(
      removed.filter((name) => name.startsWith("stays")),
      [],
    );
  });

  it("keeps what an earlier run knew until the server has said that it is gone", async () => {
    await create("here");
    const before = new NodeReflector(client, { timings });
    before.start();
    await before.whenSynced();
    const known = [...before.nodes().values()];
    await before.stop();
    await api.faults.set({
      rules: [{ match: { verbs: ["list", "watch"] }, times: 1, action: { kind: "empty-list" } }],
    });
    reflector.remember([...known, { ...known[0], name: "left", uid: "u" } as (typeof known)[0]]);
    reflector.start();
    await eventually(() => removed.length > 0);
    assert.deepEqual(removed, ["left"]);
    await eventuallyHolds(agrees);
  });

  it("follows the own Node and writes Events that the server takes", async () => {
    const own = new OwnNode(client, "me", { timings });
    own.start();
    await own.whenSynced();
    assert.equal(own.node, undefined);
    const missing = await patchNodeAnnotations(client, "me", { "skylane.dev/vtep": "{}" }).catch(
      (error: unknown) => error,
    );
    assert.ok(missing instanceof ApiError && missing.isGone("me"), String(missing));
    await create("me");
    await create("other");
    await eventually(() => own.node !== undefined);
    await patchNodeAnnotations(client, "me", { "skylane.dev/vtep": "{}" });
    await eventually(() => own.node?.annotations["skylane.dev/vtep"] === "{}");
    await patchNodeAnnotations(client, "me", { "skylane.dev/vtep": null });
    await eventually(() => own.node?.annotations["skylane.dev/vtep"] === undefined);
    await own.stop();

    const events = new NodeEvents(client);
    events.emit({ node: "me", type: "Warning", reason: "PeerRefused", message: "why" });
    await events.idle();
    events.emit({ node: "me", type: "Warning", reason: "PeerRefused", message: "why" });
    await events.idle();
    assert.equal(events.dropped, 0);
    const [event, ...more] = api.store.list(api.type("events")).map(({ object }) => object as Record<string, unknown>);
    assert.deepEqual([event?.["count"], event?.["reason"], more.length], [2, "PeerRefused", 0]);
  });
});
