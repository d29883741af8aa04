import assert from "node:assert/strict";
import { APPLY, MERGE, META, META_LIST, TestApi } from "./support.ts";

const NODES = "/api/v1/nodes";

describe("lab API: forms of answers", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
    await api.node("a", { annotations: { k: "v" }, spec: { podCIDR: "10.0.0.0/24" } });
  });
  after(() => api.server.close());

  it("gives metadata alone: of an object, of a list, as the answer to a write", async () => {
    const one = await api.get(`${NODES}/a`, { accept: `${META},application/json;q=0.5` });
    assert.deepEqual(Object.keys(one.body), ["kind", "apiVersion", "metadata"]);
    assert.equal(one.body.kind, "PartialObjectMetadata");
    const list = await api.get(NODES, { accept: META_LIST });
    assert.deepEqual([list.body.kind, list.body.apiVersion], ["PartialObjectMetadataList", "meta.k8s.io/v1"]);
    assert.deepEqual(
      list.body.items.map((item) => Object.keys(item)),
      [["kind", "apiVersion", "metadata"]],
    );
    assert.equal(list.body.items[0]?.kind, "PartialObjectMetadata");
    const patch = { body: { metadata: { annotations: { k: "w" } } }, contentType: MERGE, accept: META };
    const patched = await api.ok("PATCH", `${NODES}/a`, patch);
    assert.deepEqual([patched.kind, patched.metadata.annotations], ["PartialObjectMetadata", { k: "w" }]);
    const apply = {
      body: { apiVersion: "v1", kind: "Node", metadata: { name: "a", labels: { l: "1" } } },
      contentType: APPLY,
      accept: META,
    };
    assert.equal((await api.ok("PATCH", `${NODES}/a?fieldManager=m`, apply)).kind, "PartialObjectMetadata");
    assert.equal(
      (await api.ok("POST", NODES, { body: { metadata: { name: "b" } }, accept: META })).kind,
      "PartialObjectMetadata",
    );
  });

  it("gives metadata and whole Nodes in protobuf, and says so", async () => {
    const wire = (type: string): string => type.replace("json", "vnd.kubernetes.protobuf");
    const list = await api.raw("GET", NODES, { accept: `${wire(META_LIST)},application/json` });
    assert.equal(list.headers.get("content-type"), "application/vnd.kubernetes.protobuf");
    const bytes = Buffer.from(await list.arrayBuffer());
    assert.equal(bytes.toString("latin1", 0, 4), "k8s\0");
    assert.ok(bytes.includes("PartialObjectMetadataList"));
    const watch = await api.raw("GET", `${NODES}?watch=1&timeoutSeconds=1`, { accept: wire(META) });
    assert.equal(watch.headers.get("content-type"), "application/vnd.kubernetes.protobuf;stream=watch");
    await watch.body?.cancel();
    const whole = await api.raw("GET", NODES, { accept: "application/vnd.kubernetes.protobuf" });
    assert.equal(whole.headers.get("content-type"), "application/vnd.kubernetes.protobuf", "whole Nodes, too");
    await whole.body?.cancel();
    const none = await api.get(`${NODES}/none`, { accept: `${wire(META)},application/json` });
    assert.deepEqual([none.code, none.body.kind], [404, "Status"], "a refusal is JSON all the same");
  });

  it("takes the first form that it can give", async () => {
    const table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    assert.equal((await api.get(NODES, { accept: `${table},application/json` })).body.kind, "NodeList");
    assert.equal((await api.get(NODES, { accept: "application/vnd.kubernetes.protobuf,*/*" })).code, 200);
    assert.equal((await api.get(NODES, { accept: "application/yaml;q=0.9, application/json;q=0.1" })).code, 200);
  });

  it("answers 406 where it can give none", async () => {
    for (const [path, accept] of [
      ["/api/v1/namespaces", "application/vnd.kubernetes.protobuf"],
      [NODES, "application/json;as=Table;v=v1;g=meta.k8s.io"],
      [NODES, META],
    ] as const) {
      const reply = await api.get(path, { accept });
      assert.deepEqual([reply.code, reply.body.reason], [406, "NotAcceptable"], `${path} as ${accept}`);
    }
    const list = await api.get(`${NODES}/a`, { accept: META_LIST });
    assert.equal(list.code, 406);
    const create = await api.ask("POST", NODES, { body: { metadata: { name: "unseen" } }, accept: "text/html" });
    assert.equal(create.code, 406);
    assert.equal(
      (await api.get(`${NODES}/unseen`)).code,
      404,
      "nothing is written before the form of the answer is known",
    );
  });

  it("compresses large answers for those who accept it", async () => {
    const small = await api.raw("GET", NODES, { headers: { "accept-encoding": "gzip" } });
    assert.equal(small.headers.get("content-encoding"), null);
    await small.text();
    await api.annotate("a", { large: "x".repeat(140_000) });
    const large = await api.raw("GET", NODES, { headers: { "accept-encoding": "deflate, gzip;q=1.0" } });
    assert.equal(large.headers.get("content-encoding"), "gzip");
    assert.ok(Number(large.headers.get("content-length")) < 20_000);
    const list = (await large.json()) as { items: { metadata: { name: string } }[] };
    assert.equal(list.items[0]?.metadata.name, "a");
    for (const encoding of ["identity", "gzip;q=0"]) {
      const plain = await api.raw("GET", NODES, { headers: { "accept-encoding": encoding } });
      assert.equal(plain.headers.get("content-encoding"), null, encoding);
      await plain.text();
    }
  });
});

describe("lab API: discovery", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
  });
  after(() => api.server.close());

  it("is healthy, to anybody, and says its version", async () => {
    for (const path of ["/healthz", "/livez", "/readyz"]) {
      const reply = await api.get(path, { token: undefined });
      assert.deepEqual([reply.code, reply.text], [200, "ok"]);
    }
    assert.match(JSON.stringify((await api.get("/version", { token: undefined })).body.gitVersion), /^"v1\.\d+\.\d+/);
  });

  it("lists groups, versions and resources", async () => {
    assert.deepEqual((await api.get("/api")).body.versions, ["v1"]);
    const groups = (await api.get("/apis")).body.groups as { name: string }[];
    assert.deepEqual(
      groups.map(({ name }) => name),
      ["coordination.k8s.io", "networking.k8s.io", "apiextensions.k8s.io", "skylane.dev"],
    );
    const group = await api.get("/apis/coordination.k8s.io");
    assert.deepEqual(
      [group.body.kind, group.body.preferredVersion],
      ["APIGroup", { groupVersion: "coordination.k8s.io/v1", version: "v1" }],
    );
    const core = (await api.get("/api/v1")).body.resources as {
      name: string;
      shortNames?: string[];
      namespaced: boolean;
    }[];
    assert.deepEqual(
      core.map(({ name }) => name).filter((name) => name.startsWith("node")),
      ["nodes", "nodes/status"],
    );
    assert.deepEqual(core.find(({ name }) => name === "nodes")?.shortNames, ["no"]);
    const leases = await api.get("/apis/coordination.k8s.io/v1");
    assert.equal(leases.body.groupVersion, "coordination.k8s.io/v1");
    assert.equal((await api.get("/openapi/v2")).body.swagger, "2.0");
  });

  it("answers 404 in plain text where there is nothing, and 405 where there is another verb", async () => {
    for (const path of [
      "/apis/none",
      "/apis/none/v1/things",
      "/api/v2/nodes",
      "/api/v1/things",
      "/api/v1/pods/x",
      "/nothing",
      "/api/v1/nodes/%ff",
    ]) {
      const reply = await api.get(path);
      assert.deepEqual([reply.code, reply.text], [404, "404 page not found\n"], path);
    }
    const method = await api.ask("POST", "/api/v1/nodes/a", { body: {} });
    assert.deepEqual([method.code, method.body.reason], [405, "MethodNotAllowed"]);
    assert.equal((await api.ask("OPTIONS", NODES)).code, 405);
  });
});
