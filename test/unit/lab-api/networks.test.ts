/** Skylane's own resources in the lab's API server, held against the manifests that define them for a real one. */
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { parseAllDocuments } from "yaml";
import { NETWORK_RESOURCES } from "../../../lab/api/schema/network-resources.ts";
import { NETWORK_SCHEMAS } from "../../../lab/api/schema/network-schemas.ts";
import { eventuallyHolds } from "../../support/eventually.ts";
import { MERGE, type Reply, TestApi } from "./support.ts";

const BASE = "/apis/skylane.dev/v1alpha1";
const CRDS = readFileSync(fileURLToPath(new URL("../../../manifests/crds.yaml", import.meta.url)), "utf8");

interface Crd {
  spec: {
    scope: string;
    names: { plural: string; singular: string; kind: string; shortNames: string[] };
    versions: { name: string; subresources?: object; schema: { openAPIV3Schema: unknown } }[];
  };
}

/** What a server without CEL sees of a schema, without words. */
function bare(value: unknown, inProperties = false): unknown {
  if (Array.isArray(value)) return value.map((one) => bare(one));
  if (typeof value !== "object" || value === null) return value;
  const entries = Object.entries(value).filter(
    ([key]) => inProperties || !(key.startsWith("x-kubernetes-") || key === "description"),
  );
  return Object.fromEntries(entries.map(([key, one]) => [key, bare(one, key === "properties" && !inProperties)]));
}

describe("lab API: pod networks", () => {
  let api: TestApi;
  beforeEach(async () => {
    api = await TestApi.start();
  });
  afterEach(() => api.server.close());

  const network = (name: string, spec: object = {}): Promise<Reply> =>
    api.ask("POST", `${BASE}/podnetworks`, {
      body: { metadata: { name }, spec: { vni: 7, cidrs: ["10.1.0.0/16"], ...spec } },
    });
  const block = (metadata: object = {}): Promise<Reply> =>
    api.ask("POST", `${BASE}/networkblocks`, {
      body: {
        metadata: { name: "blue.10-1-0-64-26", ...metadata },
        spec: { network: "blue", cidr: "10.1.0.64/26", node: "n1" },
      },
    });
  const refusal = ({ code, body }: Reply): string => `${code} ${body.message}`;

  it("are what the manifests define", () => {
    const crds = parseAllDocuments(CRDS).map((document) => document.toJS() as Crd);
    assert.deepEqual(crds.map(({ spec }) => spec.names.plural).sort(), Object.keys(NETWORK_SCHEMAS).sort());
    for (const { spec } of crds) {
      const { plural, singular, kind, shortNames } = spec.names;
      const row = NETWORK_RESOURCES.find((one) => one.plural === plural);
      const [version] = spec.versions;
      assert.deepEqual(
        [row?.singular, row?.kind, row?.shortNames, row?.version, row?.namespaced, row?.status ?? false],
        [singular, kind, shortNames, version?.name, spec.scope === "Namespaced", version?.subresources !== undefined],
      );
      const schema: unknown = NETWORK_SCHEMAS[plural as keyof typeof NETWORK_SCHEMAS];
      assert.deepEqual(bare(version?.schema.openAPIV3Schema), schema, plural);
    }
  });

  it("are defaulted and pruned", async () => {
    const { code, body } = await network("blue", { unknown: 1, namespaceSelector: { matchLabels: { a: "b" }, x: 1 } });
    assert.equal(code, 201);
    assert.deepEqual(body["spec"], {
      vni: 7,
      cidrs: ["10.1.0.0/16"],
      namespaceSelector: { matchLabels: { a: "b" } },
      mode: "Routed",
      blockSize: 64,
      masquerade: false,
      directRouting: "off",
    });
  });

  it("are refused where the schema or a rule says so", async () => {
    const wrong: [object, RegExp][] = [
      [{ vni: 0 }, /spec\.vni.*greater than or equal to 1/],
      [{ vni: "7" }, /spec\.vni in body must be of type integer/],
      [{ vni: undefined }, /spec\.vni: Required value/],
      [{ cidrs: [] }, /spec\.cidrs.*at least 1 items/],
      [{ cidrs: ["10.1.0.0/16", "10.2.0.0/16"] }, /different families/],
      [{ mode: "Switched" }, /spec\.mode.*one of/],
      [{ blockSize: 48 }, /spec\.blockSize/],
      [{ mode: "Bridged", directRouting: "auto" }, /directRouting is for/],
      [{ mode: "Bridged", masquerade: true }, /masquerade is for/],
      [{ broadcast: "Drop" }, /broadcast is for/],
      [{ cidrs: ["fd01::/64"], mtu: 1279 }, /mtu of 1280/],
    ];
    for (const [spec, pattern] of wrong) {
      const reply = await network("blue", spec);
      assert.equal(reply.code, 422, JSON.stringify(spec));
      assert.match(reply.body.message, pattern);
    }
    assert.match(refusal(await network("a.b")), /^422.*the name may have up to 40/);
    assert.match(refusal(await block({ name: "other" })), /^422.*the name must be NETWORK\.CIDR/);
  });

  it("keep what may not change, and count generations", async () => {
    await network("blue");
    const change = (spec: object) =>
      api.ask("PATCH", `${BASE}/podnetworks/blue`, { body: { spec }, contentType: MERGE });
    for (const spec of [{ vni: 8 }, { cidrs: ["10.2.0.0/16"] }, { mode: "Bridged" }])
      assert.match(refusal(await change(spec)), /^422.*cannot be changed/);
    const changed = await change({ mtu: 1400 });
    assert.deepEqual([changed.code, changed.body.metadata["generation"]], [200, 2]);
    await network("default", { vni: 9 });
    const shown = await api.ask("PATCH", `${BASE}/podnetworks/default`, {
      body: { spec: { mtu: 1400 } },
      contentType: MERGE,
    });
    assert.match(refusal(shown), /^422.*only shows/);
  });

  it("have a status apart, by the schema too", async () => {
    await network("blue");
    const path = `${BASE}/podnetworks/blue`;
    const status = { nodes: 2, conditions: [{ type: "Ready", status: "True" }] };
    const patched = await api.ok("PATCH", `${path}/status`, {
      body: { status, spec: { mtu: 1400 } },
      contentType: MERGE,
    });
    assert.deepEqual([patched["status"], (patched["spec"] as { mtu?: number }).mtu], [status, undefined]);
    assert.equal(patched.metadata["generation"], 1);
    const bad = { status: { conditions: [{ type: "Ready" }] } };
    assert.match(
      refusal(await api.ask("PATCH", `${path}/status`, { body: bad, contentType: MERGE })),
      /^422.*status\.conditions\[0\]\.status: Required value/,
    );
  });

  it("are replaced by resourceVersion only, claims by the namespace, both chosen by labels", async () => {
    const { body } = await block({ labels: { "skylane.dev/network": "blue" } });
    const path = `${BASE}/networkblocks/blue.10-1-0-64-26`;
    const { resourceVersion: _, ...metadata } = body.metadata;
    assert.equal((await api.ask("PUT", path, { body: { ...body, metadata } })).code, 422);
    const taken = { ...body, spec: { ...(body["spec"] as object), addresses: { "10.1.0.65": "default/db/uid-1" } } };
    assert.equal((await api.ask("PUT", path, { body: taken })).code, 200);
    assert.deepEqual((await api.ask("PUT", path, { body: taken })).body.reason, "Conflict");
    const chosen = async (value: string) =>
      (await api.get(`${BASE}/networkblocks?labelSelector=skylane.dev/network%3D${value}`)).body.items.length;
    assert.deepEqual([await chosen("blue"), await chosen("green")], [1, 0]);
    await api.ok("POST", `${BASE}/namespaces/default/ipclaims`, {
      body: { metadata: { name: "db" }, spec: { network: "blue" } },
    });
    const [claim] = (await api.get(`${BASE}/ipclaims`)).body.items;
    assert.deepEqual([claim?.metadata["namespace"], claim?.["kind"]], ["default", "IPClaim"]);
  });

  it("keep what a claim asked for", async () => {
    const path = `${BASE}/namespaces/default/ipclaims`;
    const spec = { network: "blue", ips: ["10.1.0.65"] };
    await api.ok("POST", path, { body: { metadata: { name: "db" }, spec } });
    const change = (changes: object) => api.ask("PATCH", `${path}/db`, { body: { spec: changes }, contentType: MERGE });
    for (const changes of [{ network: "red" }, { ips: ["10.1.0.66"] }, { ips: null }, { mac: "02:00:00:00:00:01" }])
      assert.match(refusal(await change(changes)), /^422.*cannot be changed; make another claim/);
    assert.equal((await change({ podName: "db-0" })).code, 200);
    const mixed = { metadata: { name: "two" }, spec: { network: "blue", ips: ["10.1.0.66", "10.1.0.67"] } };
    assert.match(refusal(await api.ask("POST", path, { body: mixed })), /^422.*different families/);
  });

  it("go with the Node that owns them, and with no other", async () => {
    const first = await api.node("n1");
    const owner = (uid: string, name = "n1") => ({ apiVersion: "v1", kind: "Node", name, uid });
    await block({ ownerReferences: [owner(first.metadata.uid)] });
    const path = `${BASE}/networkblocks/blue.10-1-0-64-26`;
    await api.node("n2");
    await api.ok("DELETE", "/api/v1/nodes/n2");
    await new Promise(setImmediate);
    assert.equal((await api.get(path)).code, 200);
    const watch = await api.watch(`${BASE}/networkblocks?resourceVersion=${api.server.store.resourceVersion}`);
    await api.ok("DELETE", "/api/v1/nodes/n1");
    assert.deepEqual(await watch.brief(1), ["DELETED blue.10-1-0-64-26"]);
    watch.close();
    // A claim by a node that has been made anew meanwhile is nobody's.
    await api.node("n1");
    assert.equal((await block({ ownerReferences: [owner(first.metadata.uid)] })).code, 201);
    await eventuallyHolds(async () => assert.equal((await api.get(path)).code, 404));
  });

  it("need not be there", async () => {
    const old = await TestApi.start({ networks: false });
    assert.equal((await old.get(`${BASE}/podnetworks`)).code, 404);
    await old.server.close();
  });

  it("takes what no schema lets through when it is told to hold objects against none", async () => {
    const odd = { apiVersion: "skylane.dev/v1alpha1", kind: "NetworkBlock", metadata: { name: "odd" }, spec: 7 };
    const create = (): Promise<Reply> => api.ask("POST", `${BASE}/networkblocks`, { body: odd });
    assert.equal((await create()).code, 422);
    await api.server.faults.set({ schemas: false });
    const made = await create();
    assert.deepEqual([made.code, made.body["spec"]], [201, 7]);
    await api.server.faults.clear();
    const again = { ...odd, metadata: { name: "odd2" } };
    assert.equal((await api.ask("POST", `${BASE}/networkblocks`, { body: again })).code, 422);
  });
});
