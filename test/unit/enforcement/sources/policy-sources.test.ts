/** What policies' sources hear of an API server, when they ask for it, and what they believe of it. */
import assert from "node:assert/strict";
import { eventually } from "../../../support/eventually.ts";
import { DEFINITION, Heard, HERE, MULTI_DEFINITION, TIMINGS } from "./support.ts";

const UNTIL_THERE_ARE_SOME = ["networkpolicies", "clusternetworkpolicies", "multi-networkpolicies"];
const DEFINITIONS = "customresourcedefinitions";
const WATCHES = [
  ...UNTIL_THERE_ARE_SOME,
  `${DEFINITIONS} ${DEFINITION.metadata.name}`,
  `${DEFINITIONS} ${MULTI_DEFINITION.metadata.name}`,
];
const NODE_PEER = {
  tier: "Admin",
  priority: 1,
  subject: { namespaces: {} },
  egress: [{ action: "Deny", to: [{ nodes: { matchLabels: { zone: "a" } } }] }],
};

describe("sources of network policies", () => {
  let heard: Heard;
  beforeEach(async () => {
    heard = await Heard.begin();
    heard.granted.set(HERE, ["10.1.0.0/24", "fd00:1::/64"]).set("there", ["10.2.0.0/24", "fd00:2::/64"]);
  });
  afterEach(() => heard.end());
  const synced = () => eventually(() => heard.sources.synced("default"), { message: "not synced" });

  it("ask for nothing but policies as long as there are none, follow pods from the first to the last", async () => {
    heard.pod("shop/web", { ip: "10.1.0.5", labels: { app: "web" } });
    heard.start();
    assert.equal(heard.sources.presence("default"), "unknown");
    await synced();
    assert.equal(heard.sources.presence("default"), "none");
    assert.deepEqual(
      [...new Set(heard.asked.map(({ path }) => path.split("/").at(-1) ?? ""))].toSorted(),
      [...UNTIL_THERE_ARE_SOME, DEFINITIONS].toSorted(),
    );
    assert.deepEqual(Object.keys(heard.sources.watches), WATCHES);

    heard.policy("shop/deny");
    await eventually(() => heard.told.policies.has("shop/deny"));
    await synced();
    assert.equal(heard.sources.presence("default"), "some");
    assert.deepEqual(heard.told.pods.get("shop/web"), {
      key: "shop/web",
      namespace: "shop",
      name: "web",
      labels: { app: "web" },
      ips: ["10.1.0.5"],
      ports: [],
      node: HERE,
      hostNetwork: false,
      ended: false,
    });
    assert.equal(heard.sources.pod("shop/web")?.uid, "uid-shop/web");
    assert.ok(heard.told.namespaces.has("default"));
    assert.ok(!heard.wasAsked("nodes"), "no policy asks for nodes");

    heard.remove("networkpolicies", "shop/deny");
    await eventually(() => heard.told.pods.size === 0 && heard.told.namespaces.size === 0);
    assert.deepEqual([heard.sources.presence("default"), heard.sources.synced("default")], ["none", true]);
    assert.equal(heard.told.policies.size, 0);
    assert.deepEqual(Object.keys(heard.sources.watches), WATCHES);
    assert.equal(heard.sources.pod("shop/web"), undefined);

    heard.policy("shop/again");
    await eventually(() => heard.told.policies.has("shop/again") && heard.told.pods.has("shop/web"));
  });

  it("hand on policies only with all pods, which come in parts", async () => {
    for (let i = 0; i < 25; i++) heard.pod(`shop/web-${i}`, { ip: `10.1.0.${i + 1}` });
    heard.policy("shop/deny");
    heard.start({ podsPerTurn: 10 });
    await synced();
    const parts = heard.told.batches.flatMap(({ pods }) => (pods ? [pods.set?.length] : []));
    assert.deepEqual(parts, [10, 10, 5]);
    const first = heard.told.batches.findIndex(({ policies }) => policies !== undefined);
    assert.equal(
      first,
      heard.told.batches.findLastIndex(({ pods }) => pods !== undefined),
    );
  });

  it("follow pods as they change and go", async () => {
    heard.policy("shop/deny");
    heard.start();
    await synced();
    heard.pod("shop/web", {});
    await eventually(() => heard.told.pods.get("shop/web")?.ips.length === 0);
    heard.pod("shop/web", { ip: ["10.1.0.7", "fd00:1::7"], labels: { app: "web" } });
    await eventually(() => heard.told.pods.get("shop/web")?.ips.join() === "10.1.0.7,fd00:1::7");
    heard.pod("shop/web", { ip: "10.1.0.7", metadata: { deletionTimestamp: "2026-01-01T00:00:01Z" } });
    await eventually(() => heard.told.pods.get("shop/web")?.ips.join() === "10.1.0.7");
    heard.remove("pods", "shop/web");
    await eventually(() => !heard.told.pods.has("shop/web"));
  });

  it("know nothing of pods of the host's network, and of pods that have ended", async () => {
    heard.policy("shop/deny");
    heard.pod("shop/host", { ip: "192.168.0.1", spec: { hostNetwork: true } });
    heard.pod("shop/done", { ip: "10.1.0.3", status: { phase: "Succeeded" } });
    heard.pod("shop/job", { ip: "10.1.0.4" });
    heard.start();
    await synced();
    assert.deepEqual([...heard.told.pods.keys()], ["shop/job"]);
    heard.pod("shop/job", { ip: "10.1.0.4", status: { phase: "Failed" } });
    await eventually(() => heard.told.pods.size === 0);
    assert.equal(heard.sources.pod("shop/job"), undefined);
  });

  it("believe addresses only that a pod's node has been given, and judge anew", async () => {
    heard.policy("shop/deny");
    heard.pod("shop/liar", { ip: ["10.2.0.9", "fd00:1::9"] });
    heard.pod("shop/far", { ip: ["10.2.0.8", "fd00:2:0::8"], node: "there" });
    heard.pod("shop/new", { ip: "10.3.0.8", node: "unknown" });
    heard.start();
    await synced();
    const ips = (key: string) => heard.told.pods.get(key)?.ips;
    assert.deepEqual(ips("shop/liar"), ["fd00:1::9"]);
    assert.deepEqual(ips("shop/far"), ["10.2.0.8", "fd00:2::8"]);
    assert.deepEqual(ips("shop/new"), []);
    const before = heard.told.batches.length;
    heard.granted.set("unknown", ["10.3.0.0/24"]);
    heard.sources.grantsChanged(["unknown", "there"]);
    await eventually(() => ips("shop/new")?.join() === "10.3.0.8");
    assert.deepEqual(
      heard.told.batches.slice(before).map(({ pods }) => pods?.set?.map(({ name }) => name)),
      [["new"]],
    );
    heard.granted.delete("there");
    heard.sources.grantsChanged();
    await eventually(() => ips("shop/far")?.length === 0);
    assert.deepEqual(ips("shop/new"), ["10.3.0.8"]);
    assert.equal(heard.sources.pod("shop/far"), undefined, "another node's");
  });

  it("say of namespaces which are in audit mode", async () => {
    heard.policy("shop/deny");
    heard.put("namespaces", { metadata: { name: "shop", labels: { team: "a" } } });
    heard.start();
    await synced();
    assert.deepEqual(heard.told.namespaces.get("shop"), { name: "shop", labels: { team: "a" }, audit: false });
    heard.put("namespaces", { metadata: { name: "shop", annotations: { "skylane.dev/policy-mode": "audit" } } });
    await eventually(() => heard.told.namespaces.get("shop")?.audit === true);
    heard.policy("shop/deny", { podSelector: {} }, { annotations: { "skylane.dev/policy-mode": "audit" } });
    await eventually(() => heard.told.policies.get("shop/deny")?.audit === true);
  });

  it("tell what of policies cannot be read", async () => {
    heard.policy("shop/odd", { podSelector: {}, ingress: [{ ports: [{ port: 0 }] }] });
    heard.start();
    await synced();
    assert.match(heard.sources.faults.get("NetworkPolicy shop/odd")?.[0] ?? "", /spec\.ingress\[0\]\.ports\[0\]\.port/);
    assert.ok(heard.logged.some(([level, message]) => level === "warn" && message.includes("has faults")));
    const { states } = heard;
    heard.policy("shop/odd");
    await eventually(() => heard.sources.faults.size === 0 && heard.states > states);
  });

  it("hear of ClusterNetworkPolicies once there are such, and of nodes where one asks for them", async () => {
    heard.put("nodes", { metadata: { name: "n1", labels: { zone: "a" } } });
    heard.start({ nodeIps: (name) => (name === "n1" ? ["192.168.0.7"] : undefined) });
    await synced();
    heard.put("customresourcedefinitions", DEFINITION);
    heard.put("clusternetworkpolicies", {
      metadata: { name: "plain" },
      spec: { ...NODE_PEER, egress: [{ action: "Deny", to: [{ networks: ["0.0.0.0/0"] }] }] },
    });
    await eventually(() => heard.told.policies.has("plain"));
    assert.ok(!heard.wasAsked("nodes"));
    heard.put("clusternetworkpolicies", { metadata: { name: "by-node" }, spec: NODE_PEER });
    await eventually(() => heard.told.policies.has("by-node"));
    await synced();
    const nodes = heard.told.batches.findIndex((one) => one.nodes !== undefined);
    const asking = heard.told.batches.findIndex((one) => one.policies?.set?.some(({ name }) => name === "by-node"));
    assert.ok(nodes >= 0 && nodes <= asking, "the policy is not told before the nodes are known");
    assert.deepEqual(heard.told.nodes.get("n1"), { name: "n1", labels: { zone: "a" }, ips: ["192.168.0.7"] });
    heard.remove("customresourcedefinitions", DEFINITION.metadata.name);
    await eventually(() => heard.told.policies.size === 0 && heard.told.nodes.size === 0);
    assert.deepEqual([heard.sources.presence("default"), heard.sources.synced("default")], ["none", true]);
  });

  it("look for ClusterNetworkPolicies when their definition comes, and from time to time where they may not watch it", async () => {
    const looked = () => heard.asked.filter(({ path }) => path.endsWith("/clusternetworkpolicies")).length;
    // Where the definition is known not to be there, nobody looks before it is.
    heard.start({ timings: { ...TIMINGS, absentMs: 60_000 } });
    await synced();
    await eventually(() => heard.sources.watches[`${DEFINITIONS} ${DEFINITION.metadata.name}`]?.connected);
    heard.put("customresourcedefinitions", DEFINITION);
    heard.put("clusternetworkpolicies", { metadata: { name: "by-node" }, spec: NODE_PEER });
    await eventually(() => heard.told.policies.has("by-node"));
    await heard.sources.stop();

    heard.remove("customresourcedefinitions", DEFINITION.metadata.name);
    heard.forbidden.add("customresourcedefinitions");
    const before = looked();
    heard.start();
    await eventually(() => looked() > before + 3);
    heard.put("customresourcedefinitions", DEFINITION);
    heard.put("clusternetworkpolicies", { metadata: { name: "again" }, spec: NODE_PEER });
    await eventually(() => heard.told.policies.has("again"));
  });

  it("keep what they know when they may not read it any more, and know nothing where they never could", async () => {
    heard.forbidden.add("networkpolicies");
    heard.policy("shop/deny");
    heard.start();
    const errors = () => heard.logged.filter(([level]) => level === "error");
    await eventually(() => (heard.sources.watches["networkpolicies"]?.errors ?? 0) > 3);
    assert.deepEqual([heard.sources.presence("default"), heard.sources.synced("default")], ["unknown", false]);
    assert.equal(errors().length, 1, "said once");
    assert.match(
      errors()[0]?.[1] ?? "",
      /does not let this agent read NetworkPolicies.*which policies this node has to keep/,
    );
    heard.forbidden.clear();
    await synced();
    heard.forbidden.add("networkpolicies");
    await heard.api.faults.set({ expireWatches: true });
    await eventually(() => errors().length === 2);
    assert.deepEqual([heard.sources.presence("default"), heard.sources.synced("default")], ["some", true]);
    assert.ok(heard.told.policies.has("shop/deny"));
  });
});
