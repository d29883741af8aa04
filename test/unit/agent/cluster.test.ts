import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { type CachedInputs, CacheWriter } from "../../../src/nodes/cache.ts";
import { ClusterView } from "../../../src/nodes/cluster.ts";
import type { Inputs } from "../../../src/nodes/inputs.ts";
import { ApiError, type KubeClient } from "../../../src/kube/index.ts";
import { createLogger, type RootLogger } from "../../../src/log/index.ts";
import { eventually } from "../../support/eventually.ts";

const node = {
  apiVersion: "v1",
  kind: "Node",
  metadata: { name: "n1", uid: "u1", resourceVersion: "5", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { podCIDRs: ["10.244.1.0/24"] },
};
const end = {
  kind: "Node",
  metadata: { resourceVersion: "7", annotations: { "k8s.io/initial-events-end": "true" } },
};
const events = [
  { type: "ADDED", object: node },
  { type: "BOOKMARK", object: end },
];

describe("a first start", () => {
  let stop: () => Promise<void> = () => Promise.resolve();
  // There is no place for a cache.
  afterEach(() => stop().catch(() => undefined));

  it("does not miss its own Node when the list of all is heard of first", async () => {
    const streams = new Map<boolean, PassThrough>();
    // Nobody is asked about single Nodes.
    const unused = (): Promise<never> => Promise.reject(new ApiError("asked", 503));
    const client: KubeClient = {
      server: "",
      json: unused,
      read: unused,
      stream: (request) => {
        const body = new PassThrough();
        request.signal?.addEventListener("abort", () => body.end());
        streams.set(request.query?.["fieldSelector"] !== undefined, body);
        return Promise.resolve({ body, wire: false });
      },
      close: () => Promise.resolve(),
    };
    const heard: string[] = [];
    const inputs = Promise.withResolvers<Inputs>();
    const view = new ClusterView({
      client,
      nodeName: "n1",
      log: createLogger({ level: "error", format: "text" }),
      cached: undefined,
      writer: new CacheWriter("/nonexistent/cache.json"),
      dataPathExists: false,
      contested: () => [],
      reserved: () => ({ services: [], pods: [] }),
      onInputs: (all) => inputs.resolve(all),
      onNoNode: () => heard.push("there is no Node"),
      event: (_, reason) => heard.push(reason),
    });
    stop = () => view.stop();
    view.start();
    while (streams.size < 2) await new Promise((resolve) => setImmediate(resolve));
    const text = events.map((event) => `${JSON.stringify(event)}\n`).join("");
    // Both in one turn: the listener of all Nodes runs before that of our own.
    streams.get(false)?.write(text);
    streams.get(true)?.write(text);
    assert.equal((await inputs.promise).own.uid, "u1");
    assert.deepEqual(heard, []);
  });
});

describe("a start from the cache", () => {
  const cached: CachedInputs = {
    savedAt: Date.now(),
    inputs: { own: { name: "n1", podCidrs: ["10.244.1.0/24"], internalIps: ["172.30.0.11"] }, nodes: [] },
  };
  const gone = new ApiError("GET", 404, { reason: "NotFound", name: "n1" });
  const silent = new Proxy({} as RootLogger, { get: () => () => undefined });

  /** A view whose API server lists no Node at all, and answers like this about the own one. */
  const started = (single: () => Promise<unknown>): ClusterView => {
    const client: KubeClient = {
      server: "",
      json: single,
      read: () => Promise.reject(new ApiError("asked", 503)),
      stream: (request) => {
        const body = new PassThrough();
        request.signal?.addEventListener("abort", () => body.end());
        body.write(`${JSON.stringify(events[1])}\n`);
        return Promise.resolve({ body, wire: false });
      },
      close: () => Promise.resolve(),
    };
    const view = new ClusterView({
      client,
      nodeName: "n1",
      log: silent,
      cached,
      writer: new CacheWriter("/nonexistent/cache.json"),
      dataPathExists: false,
      contested: () => [],
      reserved: () => ({ services: [], pods: [] }),
      onInputs: () => undefined,
      onNoNode: () => undefined,
      event: () => undefined,
    });
    stop = () => view.stop();
    view.start();
    return view;
  };
  let stop: () => Promise<void> = () => Promise.resolve();
  afterEach(() => stop().catch(() => undefined));

  it("learns that its Node is gone when the API server says so about it", async () => {
    const view = started(() => Promise.reject(gone));
    await eventually(() => view.nodeless);
    assert.equal(view.live, true);
    assert.deepEqual(view.own?.podCidrs, ["10.244.1.0/24"]);
  });

  it("takes an empty list for no answer while the API server does not say so", async () => {
    let asked = 0;
    let answer: () => Promise<unknown> = () => Promise.reject(new ApiError("GET", 503));
    const view = started(() => {
      asked++;
      return answer();
    });
    await eventually(() => asked > 2);
    assert.deepEqual([view.live, view.known, view.nodeless], [false, true, false]);
    answer = () => Promise.resolve(node);
    await eventually(() => view.own?.uid === "u1");
    assert.equal(view.nodeless, false);
  });
});
