/** What network policies and their readers need of the API server. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { TestApi } from "./support.ts";

const DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
const GROUP = "policy.networking.k8s.io";
const CLUSTER = `/apis/${GROUP}/v1alpha2/clusternetworkpolicies`;
const POLICIES = "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies";
const NAME = `clusternetworkpolicies.${GROUP}`;
const definition = (name = NAME) => ({
  metadata: { name },
  spec: {
    group: GROUP,
    scope: "Cluster",
    names: { plural: "clusternetworkpolicies", kind: "ClusterNetworkPolicy", shortNames: ["cnp"] },
    versions: [
      { name: "v1alpha1", served: false, storage: false },
      { name: "v1alpha2", served: true, storage: true, subresources: { status: {} } },
    ],
  },
});

describe("lab API: what network policies need", () => {
  let api: TestApi;
  beforeEach(async () => {
    api = await TestApi.start();
  });
  afterEach(() => api.server.close());

  it("serves a custom resource as long as it is defined", async () => {
    assert.equal((await api.get(CLUSTER)).code, 404);
    const wrong = await api.ask("POST", DEFINITIONS, { body: definition("other") });
    assert.deepEqual([wrong.code, wrong.body.reason], [422, "Invalid"]);
    const made = await api.ok("POST", DEFINITIONS, { body: definition() });
    assert.match(JSON.stringify(made["status"]), /"type":"Established","status":"True"/);
    await api.ok("POST", CLUSTER, { body: { metadata: { name: "a" }, spec: { tier: "Admin" }, status: { x: 1 } } });
    const watch = await api.watch(CLUSTER);
    assert.deepEqual(await watch.brief(1), ["ADDED a"]);
    const status = { body: { status: { conditions: [] } }, contentType: "application/merge-patch+json" };
    const patched = await api.ok("PATCH", `${CLUSTER}/a/status`, status);
    assert.deepEqual([patched["spec"], patched["status"]], [{ tier: "Admin" }, { conditions: [] }]);
    assert.deepEqual(await watch.brief(1), ["MODIFIED a"]);
    const groups = (await api.get("/apis")).body["groups"] as { name: string }[];
    assert.ok(groups.some(({ name }) => name === GROUP));
    await api.ok("DELETE", `${DEFINITIONS}/${NAME}`);
    assert.deepEqual(await watch.brief(1), ["DELETED a"]);
    assert.equal(await watch.line(), undefined, "its watches end");
    assert.equal((await api.get(CLUSTER)).code, 404);
    await api.ok("POST", DEFINITIONS, { body: definition() });
    assert.deepEqual((await api.get(CLUSTER)).body.items, [], "and nothing of it is left");
  });

  it("knows over a restart what was defined", async () => {
    const folder = mkdtempSync(join(tmpdir(), "skylane-lab-definitions-"));
    try {
      const dataFile = join(folder, "data");
      const first = await TestApi.start({ dataFile });
      await first.ok("POST", DEFINITIONS, { body: definition() });
      await first.ok("POST", CLUSTER, { body: { metadata: { name: "a" }, spec: {} } });
      await first.server.close();
      const second = await TestApi.start({ dataFile });
      assert.deepEqual(
        (await second.get(CLUSTER)).body.items.map(({ metadata }) => metadata.name),
        ["a"],
      );
      await second.ok("DELETE", `${DEFINITIONS}/${NAME}`);
      assert.equal((await second.get(CLUSTER)).code, 404);
      await second.server.close();
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });

  it("fills in what NetworkPolicies leave out, and refuses what makes no sense", async () => {
    const spec = { ingress: [{ ports: [{ port: 80 }] }], egress: [{}] };
    const made = await api.ok("POST", POLICIES, { body: { metadata: { name: "a" }, spec } });
    assert.deepEqual(made["spec"], {
      podSelector: {},
      ingress: [{ ports: [{ protocol: "TCP", port: 80 }] }],
      egress: [{}],
      policyTypes: ["Ingress", "Egress"],
    });
    for (const [wrong, field] of [
      [{ ingress: [{ ports: [{ port: 0 }] }] }, "spec.ingress[0].ports[0].port"],
      [{ egress: [{ ports: [{ protocol: "ICMP" }] }] }, "spec.egress[0].ports[0].protocol"],
      [{ egress: [{ ports: [{ port: 90, endPort: 80 }] }] }, "spec.egress[0].ports[0].endPort"],
      [{ ingress: [{ from: [{}] }] }, "spec.ingress[0].from[0]"],
      [{ ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0" } }] }] }, "spec.ingress[0].from[0].ipBlock.cidr"],
      [{ ingress: [{ from: [{ ipBlock: { cidr: "10.0.0.0/8" }, podSelector: {} }] }] }, "spec.ingress[0].from[0]"],
    ] as const) {
      const reply = await api.ask("POST", POLICIES, { body: { metadata: { name: "b" }, spec: wrong } });
      assert.equal(reply.code, 422, field);
      assert.ok(reply.body.message.includes(field), reply.body.message);
    }
  });

  it("selects pods by phase and by the host's network, whose absence is false", async () => {
    const create = (name: string, spec: object = {}) =>
      api.ok("POST", "/api/v1/namespaces/default/pods", { body: { metadata: { name }, spec } });
    await create("plain");
    await create("host", { hostNetwork: true });
    await create("done");
    const selected = async (selector: string) =>
      (await api.get(`/api/v1/pods?fieldSelector=${encodeURIComponent(selector)}`)).body.items.map(
        ({ metadata }) => metadata.name,
      );
    assert.deepEqual(await selected("spec.hostNetwork=false"), ["done", "plain"]);
    const selector = "status.phase!=Succeeded,status.phase!=Failed,spec.hostNetwork=false";
    const watch = await api.watch(`/api/v1/pods?fieldSelector=${encodeURIComponent(selector)}`);
    await watch.brief(2);
    const phase = { body: { status: { phase: "Succeeded" } }, contentType: "application/merge-patch+json" };
    await api.ok("PATCH", "/api/v1/namespaces/default/pods/done/status", phase);
    assert.deepEqual(await watch.brief(1), ["DELETED done"], "an end is the end for a watch that does not select it");
    watch.close();
    assert.deepEqual(await selected(selector), ["plain"]);
  });
});
