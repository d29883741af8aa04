/** What policies' sources hear of MultiNetworkPolicies, which a cluster need not have, and of what these name networks by. */
import assert from "node:assert/strict";
import { eventually } from "../../../support/eventually.ts";
import { ATTACHMENT_DEFINITION, Heard, HERE, MULTI_DEFINITION } from "./support.ts";

const FOR = "k8s.v1.cni.cncf.io/policy-for";

describe("sources of MultiNetworkPolicies", () => {
  let heard: Heard;
  beforeEach(async () => {
    heard = await Heard.begin();
    heard.granted.set(HERE, ["10.1.0.0/24"]);
  });
  afterEach(() => heard.end());
  const multi = (key: string, networks: string): void => {
    const [namespace = "", name = ""] = key.split("/");
    heard.put("multi-networkpolicies", {
      metadata: { namespace, name, annotations: { [FOR]: networks } },
      spec: { podSelector: {} },
    });
  };
  const define = (definition: typeof MULTI_DEFINITION, version = definition.spec.versions[0]?.name ?? ""): void =>
    heard.put("customresourcedefinitions", {
      ...definition,
      spec: { ...definition.spec, versions: [{ name: version, served: true, storage: true }] },
    });
  const state = () => (["default", "further"] as const).map((scope) => heard.sources.presence(scope));
  const synced = () =>
    eventually(() => heard.sources.synced("default") && heard.sources.synced("further"), { message: "not synced" });

  it("hear of them in either version once they are defined, and follow definitions of attachments as long as there are some", async () => {
    heard.pod("shop/web", { ip: "10.1.0.5" });
    heard.start();
    await synced();
    assert.deepEqual(state(), ["none", "none"]);
    define(MULTI_DEFINITION);
    define(ATTACHMENT_DEFINITION);
    await eventually(() => heard.asked.some(({ path }) => path.includes("/v1beta1/")));
    assert.ok(!heard.wasAsked("network-attachment-definitions"));
    const config = (value: unknown) => ({ config: typeof value === "string" ? value : JSON.stringify(value) });
    for (const [name, spec] of Object.entries({
      tenant: config({ type: "skylane", network: "blue" }),
      list: config({ plugins: [{ type: "tuning" }, { type: "skylane", network: "green" }] }),
      others: config({ type: "macvlan", network: "blue" }),
      none: config({ type: "skylane" }),
      odd: config("{no JSON"),
      deep: config('["skylane"]'),
      empty: {},
    }))
      heard.put("network-attachment-definitions", { metadata: { namespace: "shop", name }, spec });
    multi("shop/deny", "tenant");
    await eventually(() => heard.told.policies.has("shop/deny"));
    await synced();
    assert.deepEqual(state(), ["none", "some"]);
    assert.deepEqual(heard.told.policies.get("shop/deny")?.networks, ["shop/tenant"]);
    const leads = (name: string) => heard.sources.networkOf(`shop/${name}`);
    assert.deepEqual([leads("tenant"), leads("list")], ["blue", "green"]);
    for (const name of ["others", "none", "odd", "deep", "empty", "nobody"]) assert.equal(leads(name), undefined, name);
    assert.deepEqual(
      Array.from(heard.sources.podsHere(), ({ name }) => name),
      ["web"],
    );

    // The definition serves another version: the newer one is asked for first.
    define(MULTI_DEFINITION, "v1beta2");
    multi("shop/more", "tenant");
    await eventually(() => heard.told.policies.has("shop/more"));
    const { path } = heard.asked.findLast(({ path }) => path.endsWith("/multi-networkpolicies")) ?? {};
    assert.match(path ?? "", /\/v1beta2\//);

    for (const key of ["shop/deny", "shop/more"]) heard.remove("multi-networkpolicies", key);
    await eventually(() => heard.told.policies.size === 0 && heard.told.pods.size === 0);
    assert.deepEqual([...state(), leads("tenant")], ["none", "none", undefined]);
  });

  it("leave the default network's policies alone where they may not be read", async () => {
    define(MULTI_DEFINITION);
    heard.forbidden.add("multi-networkpolicies");
    heard.start();
    await eventually(() => (heard.sources.watches["multi-networkpolicies"]?.errors ?? 0) > 2);
    await eventually(() => heard.sources.synced("default"));
    assert.deepEqual(state(), ["none", "unknown"]);
    heard.policy("shop/deny");
    await eventually(() => heard.told.policies.has("shop/deny"));
    await eventually(() => heard.sources.synced("default"));
    assert.equal(heard.sources.synced("further"), false);
  });
});
