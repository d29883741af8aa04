/** Objects of any kind, one by one and as sets, against the lab's API server. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  ApiError,
  connect,
  createObject,
  deleteObject,
  getMeta,
  getObject,
  type KubeClient,
  listObjects,
  NamespaceReflector,
  NodeEvents,
  ObjectReflector,
  patchAnnotations,
  patchStatus,
  podsOf,
  replaceObject,
} from "../../../src/kube/index.ts";
import { type ApiServer, type KubeObject, startApiServer } from "../../../lab/api/index.ts";
import {
  blockObject,
  IP_CLAIMS,
  ipClaimsOf,
  NETWORK_BLOCKS,
  parseIPClaim,
  parseNetworkBlock,
  parsePodNetwork,
  POD_NETWORKS,
  sameObject,
} from "../../../src/crd/index.ts";
import { eventually, eventuallyHolds } from "../../support/eventually.ts";

const timings = { baseMs: 2, capMs: 20, stableMs: 0, absentMs: 10 };
const network = (name: string, vni: number) => ({ metadata: { name }, spec: { vni, cidrs: ["10.1.0.0/16"] } });
const networks = { what: "pod networks", path: POD_NETWORKS, parse: parsePodNetwork, same: sameObject };

describe("kube: objects of any kind", () => {
  let folder: string;
  let api: ApiServer;
  let client: KubeClient;
  const begin = async (options: { networks?: boolean; port?: number } = {}): Promise<void> => {
    api = await startApiServer({ host: "127.0.0.1", tls: { certDir: folder }, adminToken: "admin", ...options });
    writeFileSync(join(folder, "kubeconfig"), api.kubeconfig());
  };
  beforeEach(async () => {
    folder = mkdtempSync(join(tmpdir(), "skylane-objects-"));
    await begin();
    client = connect({ kubeconfig: join(folder, "kubeconfig") });
  });
  afterEach(async () => {
    await client.close();
    await api.close();
    rmSync(folder, { recursive: true, force: true });
  });

  const refusedAs = (reason: string) => (error: Error) => {
    assert.ok(error instanceof ApiError, String(error));
    assert.equal(error.reason, reason);
    return true;
  };

  it("are created once, replaced by version, deleted by uid", async () => {
    const object = blockObject({ network: "blue" }, "10.1.0.64/26", {});
    const made = parseNetworkBlock(await createObject(client, NETWORK_BLOCKS, object));
    await assert.rejects(createObject(client, NETWORK_BLOCKS, object), refusedAs("AlreadyExists"));
    const read = (await getObject(client, NETWORK_BLOCKS, made.name)) as { metadata: object; spec: object };
    const next = { ...read, spec: { ...read.spec, addresses: { "10.1.0.65": "team/db/uid-1" } } };
    const replaced = parseNetworkBlock(await replaceObject(client, NETWORK_BLOCKS, next));
    assert.deepEqual(replaced.addresses, { "10.1.0.65": "team/db/uid-1" });
    await assert.rejects(replaceObject(client, NETWORK_BLOCKS, next), refusedAs("Conflict"));
    assert.throws(() => replaceObject(client, NETWORK_BLOCKS, object), RangeError);
    assert.equal(await deleteObject(client, NETWORK_BLOCKS, made.name, "another"), false);
    assert.equal(await deleteObject(client, NETWORK_BLOCKS, made.name, made.uid), true);
    assert.equal(await deleteObject(client, NETWORK_BLOCKS, made.name, made.uid), false);
    assert.equal(await getObject(client, NETWORK_BLOCKS, made.name), undefined);
  });

  it("are listed by label over pages", async () => {
    for (let i = 0; i < 510; i++) {
      const network = i < 505 ? "blue" : "green";
      const block = blockObject({ network }, `10.1.${i >> 8}.${i & 255}/32`) as KubeObject;
      api.store.put(api.type("networkblocks"), block.metadata.name, block);
    }
    assert.equal((await listObjects(client, NETWORK_BLOCKS, "skylane.dev/network=blue")).length, 505);
    assert.equal((await listObjects(client, NETWORK_BLOCKS)).length, 510);
    await assert.rejects(listObjects(client, "/apis/skylane.dev/v1alpha1/nothings"), ApiError);
  });

  it("have a status that is patched, on demand of one version only", async () => {
    const { metadata } = (await createObject(client, POD_NETWORKS, network("blue", 7))) as {
      metadata: { resourceVersion: string };
    };
    const status = { nodes: 1, conditions: [{ type: "Ready", status: "True" }] };
    const patched = (await patchStatus(client, POD_NETWORKS, "blue", status, metadata.resourceVersion)) as {
      status: unknown;
    };
    assert.deepEqual(patched.status, status);
    await assert.rejects(
      patchStatus(client, POD_NETWORKS, "blue", { nodes: 2 }, metadata.resourceVersion),
      refusedAs("Conflict"),
    );
    const later = (await patchStatus(client, POD_NETWORKS, "blue", { nodes: null })) as { status: unknown };
    assert.deepEqual(later.status, { conditions: status.conditions });
  });

  it("have metadata that is read alone, and annotations that are patched", async () => {
    const pods = podsOf("default");
    assert.equal(await getMeta(client, pods, "p"), undefined);
    await createObject(client, pods, { metadata: { name: "p", labels: { a: "1" }, annotations: { x: "1", y: "2" } } });
    await patchAnnotations(client, pods, "p", { x: null, "k8s.v1.cni.cncf.io/network-status": "[]" });
    const meta = await getMeta(client, pods, "p");
    assert.deepEqual(
      [meta?.name, meta?.labels, meta?.annotations],
      ["p", { a: "1" }, { y: "2", "k8s.v1.cni.cncf.io/network-status": "[]" }],
    );
  });

  it("are followed with their labels, and by namespace and name", async () => {
    const blocks = new ObjectReflector(client, {
      what: "blocks",
      path: NETWORK_BLOCKS,
      labelSelector: "skylane.dev/network=blue",
      parse: parseNetworkBlock,
      same: sameObject,
    });
    const claims = new ObjectReflector(
      client,
      { what: "claims", path: IP_CLAIMS, parse: parseIPClaim, same: sameObject },
      { timings },
    );
    await createObject(client, "/api/v1/namespaces", { metadata: { name: "team" } });
    const claim = { metadata: { name: "db" }, spec: { network: "blue" } };
    for (const namespace of ["default", "team"]) await createObject(client, ipClaimsOf(namespace), claim);
    for (const one of [blocks, claims]) one.start();
    await Promise.all([blocks.whenSynced(), claims.whenSynced()]);
    assert.deepEqual([...claims.objects.keys()].sort(), ["default/db", "team/db"]);
    await createObject(client, NETWORK_BLOCKS, blockObject({ network: "green" }, "10.1.0.0/26"));
    await createObject(client, NETWORK_BLOCKS, blockObject({ network: "blue" }, "10.1.0.0/26"));
    await eventuallyHolds(() => assert.deepEqual([...blocks.objects.keys()], ["blue.10-1-0-0-26"]));
    const uid = claims.objects.get("team/db")?.uid ?? "";
    await deleteObject(client, ipClaimsOf("team"), "db", uid);
    await eventuallyHolds(() => assert.deepEqual([...claims.objects.keys()], ["default/db"]));

    for (const one of [blocks, claims]) await one.stop();
  });

  it("go when the server says so about each, asked for in its own namespace", async () => {
    const claim = { metadata: { name: "db" }, spec: { network: "blue" } };
    const known = parseIPClaim(await createObject(client, ipClaimsOf("default"), claim));
    const source = { what: "claims", path: IP_CLAIMS, parse: parseIPClaim, same: sameObject };
    const claims = new ObjectReflector(client, source, { timings });
    claims.remember([known, { ...known, name: "gone" }]);
    claims.start();
    await eventuallyHolds(() => assert.deepEqual([...claims.objects.keys()], ["default/db"]));
    assert.equal(claims.state.errors, 0);
    await claims.stop();
  });

  it("need not be defined: then there are none, without errors, until somebody defines them", async () => {
    const { port } = api;
    await api.close();
    await begin({ networks: false, port });
    const log: string[] = [];
    const say = (message: string): void => void log.push(message);
    const reflector = new ObjectReflector(client, networks, {
      timings,
      log: { error: say, warn: say, info: say, debug: () => undefined },
    });
    let batches = 0;
    reflector.onChange(() => batches++);
    reflector.start();
    await reflector.whenSynced();
    await eventually(() => reflector.state.relists > 3);
    assert.deepEqual([reflector.objects.size, reflector.state.errors, batches > 0], [0, 0, true]);
    assert.deepEqual(log, ["the API server knows no pod networks; looking again from time to time"]);
    await api.close();
    await begin({ port });
    await createObject(client, POD_NETWORKS, network("blue", 7));
    await eventuallyHolds(() => assert.equal(reflector.objects.get("blue")?.vni, 7));
    await reflector.stop();
  });

  it("are gone when the server says again and again that it does not know the resource any more", async () => {
    await createObject(client, POD_NETWORKS, network("blue", 7));
    const log: string[] = [];
    const say = (message: string): void => void log.push(message);
    const reflector = new ObjectReflector(client, networks, {
      timings,
      log: { error: say, warn: say, info: say, debug: () => undefined },
    });
    const removed: string[] = [];
    reflector.onChange((changes) => removed.push(...changes.removed.map(({ name }) => name)));
    reflector.start();
    await reflector.whenSynced();
    const { port } = api;
    await api.close();
    await begin({ networks: false, port });
    await eventuallyHolds(() => assert.deepEqual([[...reflector.objects.keys()], removed], [[], ["blue"]]));
    const { relists } = reflector.state;
    await eventually(() => reflector.state.relists > relists + 2);
    assert.equal(reflector.state.unconfirmed, 0);
    // What is said while the server is away is not what this is about.
    const about = log.filter((message) => message !== "watch of pod networks interrupted");
    assert.deepEqual(about, [
      "the API server knows no pod networks any more; those known go when it says so again",
      "the API server knows no pod networks any more: those known are gone",
    ]);
    await api.close();
    await begin({ port });
    await createObject(client, POD_NETWORKS, network("green", 8));
    await eventuallyHolds(() => assert.deepEqual([...reflector.objects.keys()], ["green"]));
    await reflector.stop();
  });

  it("are namespaces with their labels", async () => {
    const reflector = new NamespaceReflector(client, { timings });
    reflector.start();
    await reflector.whenSynced();
    await createObject(client, "/api/v1/namespaces", { metadata: { name: "team", labels: { tenant: "a" } } });
    await eventuallyHolds(() => assert.equal(reflector.objects.get("team")?.labels["tenant"], "a"));
    await reflector.stop();
  });

  it("have Events about Pods in the Pods' namespace", async () => {
    await createObject(client, "/api/v1/namespaces", { metadata: { name: "team" } });
    const events = new NodeEvents(client);
    const pod = { namespace: "team", name: "p", uid: "u1" };
    const event = { node: "n1", pod, type: "Warning", reason: "NetworkRefused", message: "no" } as const;
    events.emit(event);
    events.emit({ ...event, pod: { ...pod, name: "q" } });
    await events.idle();
    const written = api.store.list(api.type("events")).map(({ object }) => object);
    assert.deepEqual(
      written.map(({ metadata, involvedObject }) => [metadata.namespace, involvedObject]),
      [
        ["team", { apiVersion: "v1", kind: "Pod", ...pod }],
        ["team", { apiVersion: "v1", kind: "Pod", ...pod, name: "q" }],
      ],
    );
    await events.stop();
  });
});
