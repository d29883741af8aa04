import assert from "node:assert/strict";
import { MERGE, TestApi } from "./support.ts";

describe("lab API: objects", () => {
  let api: TestApi;
  before(async () => {
    api = await TestApi.start();
  });
  after(() => api.server.close());

  it("creates with uid, creationTimestamp and resourceVersion, and gives the same back", async () => {
    const reply = await api.ask("POST", "/api/v1/nodes", {
      body: {
        kind: "Node",
        apiVersion: "v1",
        metadata: { name: "made", labels: { a: "b" } },
        spec: { podCIDR: "10.1.0.0/24" },
      },
    });
    assert.equal(reply.code, 201);
    const { metadata } = reply.body;
    assert.match(metadata.uid, /^[0-9a-f-]{36}$/);
    assert.match(metadata.creationTimestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/);
    assert.equal(Number(metadata.resourceVersion), api.server.store.resourceVersion);
    assert.deepEqual(reply.body.spec, { podCIDR: "10.1.0.0/24", podCIDRs: ["10.1.0.0/24"] });
    assert.deepEqual((await api.get("/api/v1/nodes/made")).body, reply.body);
  });

  it("refuses what exists, what has no name, what has a bad name, what names another kind", async () => {
    await api.node("twice");
    const again = await api.ask("POST", "/api/v1/nodes", { body: { metadata: { name: "twice" } } });
    assert.deepEqual(
      [again.code, again.body.reason, again.body.message],
      [409, "AlreadyExists", 'nodes "twice" already exists'],
    );
    assert.deepEqual(again.body.details, { name: "twice", kind: "nodes" });
    const nameless = await api.ask("POST", "/api/v1/nodes", { body: {} });
    assert.deepEqual([nameless.code, nameless.body.reason], [422, "Invalid"]);
    assert.match(nameless.body.message, /metadata.name: Required value: name or generateName is required/);
    const bad = await api.ask("POST", "/api/v1/nodes", { body: { metadata: { name: "Bad_Name" } } });
    assert.equal(bad.code, 422);
    assert.match(
      bad.body.message,
      /^Node "Bad_Name" is invalid: metadata.name: Invalid value: "Bad_Name": a lowercase RFC 1123/,
    );
    const kind = await api.ask("POST", "/api/v1/nodes", { body: { kind: "Pod", metadata: { name: "x" } } });
    assert.deepEqual([kind.code, kind.body.reason], [400, "BadRequest"]);
  });

  it("refuses a create that carries a resourceVersion as the real server does", async () => {
    const reply = await api.ask("POST", "/api/v1/nodes", { body: { metadata: { name: "rv", resourceVersion: "5" } } });
    assert.equal(reply.code, 500);
    assert.equal(reply.body.message, "resourceVersion should not be set on objects to be created");
  });

  it("generates names", async () => {
    const path = "/api/v1/namespaces/default/pods";
    const one = await api.ok("POST", path, { body: { metadata: { generateName: "web-" } } });
    const two = await api.ok("POST", path, { body: { metadata: { generateName: "web-" } } });
    assert.match(one.metadata.name, /^web-[bcdfghjklmnpqrstvwxz2456789]{5}$/);
    assert.notEqual(one.metadata.name, two.metadata.name);
    assert.equal(one.metadata.namespace, "default");
  });

  it("wants the namespace to be there and to match", async () => {
    const missing = await api.ask("POST", "/api/v1/namespaces/nowhere/pods", { body: { metadata: { name: "a" } } });
    assert.deepEqual([missing.code, missing.body.message], [404, 'namespaces "nowhere" not found']);
    const other = await api.ask("POST", "/api/v1/namespaces/default/pods", {
      body: { metadata: { name: "a", namespace: "x" } },
    });
    assert.deepEqual([other.code, other.body.reason], [400, "BadRequest"]);
    const everywhere = await api.ask("POST", "/api/v1/pods", {
      body: { metadata: { name: "a", namespace: "default" } },
    });
    assert.equal(everywhere.code, 405);
  });

  it("updates on the current version, refuses an old one, and takes one without a version for nodes", async () => {
    const made = await api.node("versions");
    const path = "/api/v1/nodes/versions";
    const next = await api.ok("PUT", path, { body: { ...made, metadata: { ...made.metadata, labels: { n: "1" } } } });
    assert.ok(Number(next.metadata.resourceVersion) > Number(made.metadata.resourceVersion));
    const stale = await api.ask("PUT", path, { body: { ...made, metadata: { ...made.metadata, labels: { n: "2" } } } });
    assert.deepEqual([stale.code, stale.body.reason], [409, "Conflict"]);
    assert.equal(
      stale.body.message,
      'Operation cannot be fulfilled on nodes "versions": the object has been modified; please apply your changes to the latest version and try again',
    );
    const blind = await api.ok("PUT", path, { body: { metadata: { name: "versions", labels: { n: "3" } } } });
    assert.deepEqual(blind.metadata.labels, { n: "3" });
    assert.equal(blind.metadata.uid, made.metadata.uid);
  });

  it("keeps a lease's version rule, and creates leases by PUT", async () => {
    const path = "/apis/coordination.k8s.io/v1/namespaces/kube-node-lease/leases/n1";
    const body = { metadata: { name: "n1" }, spec: { holderIdentity: "n1" } };
    const created = await api.ask("PUT", path, { body });
    assert.equal(created.code, 201);
    const blind = await api.ask("PUT", path, { body });
    assert.equal(blind.code, 422);
    assert.match(
      blind.body.message,
      /^Lease.coordination.k8s.io "n1" is invalid: metadata.resourceVersion: .*must be specified for an update/,
    );
    await api.ok("DELETE", path);
    const late = await api.ask("PUT", path, { body: created.body });
    assert.deepEqual([late.code, late.body.reason], [409, "Conflict"], "an update of what was deleted meanwhile");
    assert.equal((await api.ask("PUT", "/api/v1/nodes/none", { body: { metadata: { name: "none" } } })).code, 404);
  });

  it("refuses a body whose name or uid is another's", async () => {
    await api.node("named");
    const name = await api.ask("PUT", "/api/v1/nodes/named", { body: { metadata: { name: "other" } } });
    assert.deepEqual(
      [name.code, name.body.message],
      [400, "the name of the object (other) does not match the name on the URL (named)"],
    );
    const nameless = await api.ask("PUT", "/api/v1/nodes/named", { body: { metadata: {} } });
    assert.equal(nameless.code, 400);
    const uid = await api.ask("PUT", "/api/v1/nodes/named", { body: { metadata: { name: "named", uid: "x" } } });
    assert.equal(uid.code, 409);
    assert.match(uid.body.message, /UID in precondition: x/);
  });

  it("keeps status and the rest apart", async () => {
    const made = await api.ok("POST", "/api/v1/namespaces/default/pods", {
      body: { metadata: { name: "split" }, spec: { nodeName: "n1" }, status: { phase: "Running" } },
    });
    assert.equal((made.status as { phase: string }).phase, "Pending", "a create does not set the status of a pod");
    const path = "/api/v1/namespaces/default/pods/split";
    const spec = { ...made, spec: { nodeName: "n2" }, status: { phase: "Failed" } };
    const updated = await api.ok("PUT", path, { body: spec });
    assert.deepEqual([updated.spec, (updated.status as { phase: string }).phase], [{ nodeName: "n2" }, "Pending"]);
    assert.equal(updated.metadata.generation, 2);
    const status = await api.ok("PUT", `${path}/status`, {
      body: { ...updated, spec: { nodeName: "n3" }, status: { phase: "Running" } },
    });
    assert.deepEqual([status.spec, status.status], [{ nodeName: "n2" }, { phase: "Running" }]);
    assert.equal(status.metadata.generation, 2, "a status does not raise the generation");
    const patched = await api.ok("PATCH", `${path}/status`, {
      body: { metadata: { annotations: { a: "b" } }, spec: { nodeName: "n4" }, status: { phase: "Succeeded" } },
      contentType: MERGE,
    });
    assert.deepEqual([patched.spec, patched.status], [{ nodeName: "n2" }, { phase: "Succeeded" }]);
    assert.deepEqual(patched.metadata.annotations, { a: "b" });
  });

  it("lets a node be created with its status, as kubelet does, and its podCIDRs be set once", async () => {
    const addresses = [{ type: "InternalIP", address: "10.0.0.1" }];
    const made = await api.ok("POST", "/api/v1/nodes", {
      body: { metadata: { name: "kubelet" }, status: { addresses } },
    });
    assert.deepEqual(made.status, { addresses });
    const path = "/api/v1/nodes/kubelet";
    const set = await api.ok("PATCH", path, {
      body: { spec: { podCIDRs: ["10.2.0.0/24", "fd00::/64"] } },
      contentType: MERGE,
    });
    assert.deepEqual(set.spec, { podCIDRs: ["10.2.0.0/24", "fd00::/64"], podCIDR: "10.2.0.0/24" });
    const changed = await api.ask("PATCH", path, { body: { spec: { podCIDRs: ["10.3.0.0/24"] } }, contentType: MERGE });
    assert.equal(changed.code, 422);
    assert.match(changed.body.message, /spec.podCIDRs: Forbidden: node updates may not change podCIDR/);
    const nonsense = await api.ask("POST", "/api/v1/nodes", {
      body: { metadata: { name: "y" }, spec: { podCIDRs: ["10.3.0.0"] } },
    });
    assert.equal(nonsense.code, 422);
  });

  it("writes nothing where nothing changes", async () => {
    const made = await api.node("same", { annotations: { a: "1" } });
    const watch = await api.watch(`/api/v1/nodes?resourceVersion=${made.metadata.resourceVersion}`);
    assert.deepEqual(await api.annotate("same", { a: "1" }), made);
    assert.deepEqual(await api.ok("PUT", "/api/v1/nodes/same", { body: made }), made);
    await api.annotate("same", { a: "2" });
    assert.deepEqual(await watch.brief(1), ["MODIFIED same"]);
    assert.equal(api.server.store.resourceVersion, Number(made.metadata.resourceVersion) + 1);
    watch.close();
  });

  it("checks labels, annotations and their size", async () => {
    const post = (metadata: object) =>
      api.ask("POST", "/api/v1/nodes", { body: { metadata: { name: "meta", ...metadata } } });
    const types = await post({ annotations: { a: 5 } });
    assert.deepEqual([types.code, types.body.reason], [400, "BadRequest"]);
    assert.match(
      types.body.message,
      /cannot unmarshal number into Go struct field ObjectMeta.metadata.annotations of type string/,
    );
    assert.equal((await post({ finalizers: [1] })).code, 400);
    const several = await post({ annotations: { "a b": "", "/x": "" }, labels: { ok: "not ok" } });
    assert.equal(several.code, 422);
    assert.equal((several.body.details as { causes: unknown[] }).causes.length, 3);
    const fits = await post({ annotations: { k: "x".repeat(256 * 1024 - 1) } });
    assert.equal(fits.code, 201);
    const big = await api.ask("PATCH", "/api/v1/nodes/meta", {
      body: { metadata: { annotations: { l: "x" } } },
      contentType: MERGE,
    });
    assert.deepEqual([big.code, big.body.reason], [422, "Invalid"]);
    assert.match(big.body.message, /metadata.annotations: Too long: may not be more than 262144 bytes/);
    const wrong = await api.ask("PATCH", "/api/v1/nodes/meta", {
      body: { metadata: { annotations: { l: 1 } } },
      contentType: MERGE,
    });
    assert.equal(wrong.code, 422);
    assert.match(wrong.body.message, /^ "" is invalid: patch: Invalid value/);
  });

  it("limits bodies and refuses what is no JSON", async () => {
    const huge = await api.ask("POST", "/api/v1/nodes", { body: `{"x":"${"y".repeat(3 * 1024 * 1024)}"}` });
    assert.deepEqual([huge.code, huge.body.reason], [413, "RequestEntityTooLarge"]);
    assert.equal((await api.ask("POST", "/api/v1/nodes", { body: "{nonsense" })).code, 400);
    assert.equal(
      (await api.ask("POST", "/api/v1/nodes", { body: '{"metadata":{"name":"p","labels":{"__proto__":"x"}}}' })).code,
      400,
    );
    const media = await api.ask("POST", "/api/v1/nodes", {
      body: "k8s",
      contentType: "application/vnd.kubernetes.protobuf",
    });
    assert.deepEqual([media.code, media.body.reason], [415, "UnsupportedMediaType"]);
    const yaml = await api.ask("POST", "/api/v1/nodes", {
      body: "metadata:\n  name: yaml\n",
      contentType: "application/yaml",
    });
    assert.equal(yaml.code, 201);
  });

  it("does not write on a dry run", async () => {
    const made = await api.ok("POST", "/api/v1/nodes?dryRun=All", { body: { metadata: { name: "dry" } } });
    assert.match(made.metadata.uid, /^[0-9a-f-]{36}$/);
    assert.equal((await api.get("/api/v1/nodes/dry")).code, 404);
    await api.node("wet");
    await api.ok("DELETE", "/api/v1/nodes/wet?dryRun=All");
    const patched = await api.ok("PATCH", "/api/v1/nodes/wet?dryRun=All", {
      body: { metadata: { labels: { a: "b" } } },
      contentType: MERGE,
    });
    assert.deepEqual(patched.metadata.labels, { a: "b" });
    assert.equal((await api.ok("GET", "/api/v1/nodes/wet")).metadata.labels, undefined);
  });

  it("keeps an event where its object is", async () => {
    const post = (namespace: string, involvedObject: object) =>
      api.ask("POST", `/api/v1/namespaces/${namespace}/events`, {
        body: { metadata: { generateName: "e" }, involvedObject },
      });
    assert.equal((await post("default", { kind: "Node", name: "n1" })).code, 201);
    assert.equal((await post("kube-system", { kind: "Node", name: "n1" })).code, 422);
    assert.equal((await post("default", { kind: "Pod", name: "n1", namespace: "kube-system" })).code, 422);
  });
});
