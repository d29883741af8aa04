import assert from "node:assert/strict";
import { PassThrough } from "node:stream";
import { CacheWriter } from "../../../src/agent/cache.ts";
import { ClusterView } from "../../../src/agent/cluster.ts";
import type { Inputs } from "../../../src/agent/inputs.ts";
import { ApiError, type KubeClient } from "../../../src/kube/index.ts";
import { createLogger } from "../../../src/log/index.ts";

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
