/** Which MultiNetworkPolicies are about which network, and when pods may come to one: by a bridged network, which needs no kernel. */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { FurtherPolicies, type FurtherPoliciesOptions } from "../../../../src/enforcement/further/further-policies.ts";
import { POLICY_FOR_ANNOTATION, type Pod, type Policy, readMultiNetworkPolicy } from "../../../../src/policy/index.ts";

const LOG = { error: () => undefined, warn: () => undefined, info: () => undefined, debug: () => undefined };
const PATH = "/run/netns/sky-lan";
const pod = (name: string, app: string): Pod & { uid: string } => ({
  namespace: "shop",
  name,
  labels: { app },
  ips: ["10.244.1.5"],
  ports: [],
  node: "here",
  hostNetwork: false,
  ended: false,
  uid: name,
});
function policyOf(networks: string, metadata: object = {}): Policy {
  const { policy } = readMultiNetworkPolicy({
    metadata: {
      namespace: "shop",
      name: "deny",
      ...metadata,
      annotations: { [POLICY_FOR_ANNOTATION]: networks, ...(metadata as { annotations?: object }).annotations },
    },
    spec: { podSelector: { matchLabels: { app: "db" } } },
  });
  assert.ok(policy);
  return policy;
}

describe("MultiNetworkPolicies of a node", () => {
  let dataDir: string;
  let further: FurtherPolicies;
  let presence: "none" | "some" | "unknown";
  let synced: boolean;
  let forbidden: boolean;
  let definitions: Record<string, string>;
  let events: string[];
  const pods = new Map([pod("db-0", "db"), pod("web-0", "web")].map((one) => [`shop/${one.name}`, one]));

  function begin(): void {
    const sources = {
      presence: () => presence,
      synced: () => synced,
      get watches() {
        return { "multi-networkpolicies": { forbidden } };
      },
      policies: function* () {},
      networkOf: (key: string) => definitions[key],
      pod: (key: string) => pods.get(key),
      podAnywhere: (key: string) => pods.get(key),
      podsHere: () => pods.values(),
      namespaces: function* () {},
    };
    further = new FurtherPolicies({
      config: { dataDir },
      log: LOG,
      metrics: {},
      nodeName: "here",
      sources,
      event: (_type: string, reason: string, message: string) => void events.push(`${reason} ${message}`),
      podEvent: () => undefined,
      find: async ({ namespace, name }: { namespace: string; name: string }) => pods.get(`${namespace}/${name}`),
    } as unknown as FurtherPoliciesOptions);
  }
  const joinLan = (attached: string[] = []) =>
    further.join({
      name: "lan",
      path: PATH,
      bridged: true,
      log: LOG,
      here: () => new Map(attached.map((name, i) => [`sky${i}`, { namespace: "shop", name, ips: [] }])),
      view: { synced: true, podsOf: () => new Map(), nodes: () => [], blockWith: () => undefined },
      places: { start: () => undefined, whenSynced: async () => undefined, follow: () => () => undefined },
      publish: () => undefined,
    } as unknown as Parameters<FurtherPolicies["join"]>[0]);
  const admit = (name: string) =>
    further.admit({ containerId: name, ifname: "net1", hostNetns: PATH }, { namespace: "shop", name }, ["10.80.0.5"]);
  const know = (...policies: Policy[]): void => {
    [presence, synced] = [policies.length > 0 ? "some" : "none", true];
    further.change({ policies: { set: policies } });
    further.sourcesChanged();
  };

  beforeEach(() => {
    dataDir = mkdtempSync(join(tmpdir(), "skylane-further-"));
    [presence, synced, forbidden, definitions, events] = ["unknown", false, false, {}, []];
    begin();
  });
  afterEach(() => rmSync(dataDir, { recursive: true, force: true }));

  it("have pods wait until it is known whether there are any, and let them come where there are none", async () => {
    joinLan();
    assert.throws(() => further.require("lan"), /are not known yet/);
    const coming = admit("db-0");
    know();
    await coming;
    further.require("lan");
    assert.equal(readFileSync(join(dataDir, "cache", "multi-networkpolicies"), "utf8"), "none\n");
  });

  it("are none where the role of an older release never let an agent read them, and unknown where one has", async () => {
    forbidden = true;
    joinLan();
    await admit("db-0");
    know(policyOf("elsewhere"));
    // The next agent remembers that there were some.
    [presence, synced] = ["unknown", false];
    begin();
    joinLan();
    assert.throws(() => further.require("lan"), /are not known yet/);
  });

  it("tell readiness and status of networks that wait, where the node has networks at all", () => {
    const verdict = (): FurtherPolicies["verdict"] => further.verdict;
    assert.equal(verdict(), undefined);
    assert.equal(further.state.presence, "none");
    joinLan();
    assert.match(verdict()?.message ?? "", /are not known yet/);
    assert.equal(verdict()?.ok, false);
    assert.deepEqual([further.state.presence, further.state.inForce], ["unknown", false]);
    know(policyOf("elsewhere"));
    assert.deepEqual(verdict(), { ok: true, message: "MultiNetworkPolicies are in force" });
    assert.deepEqual([further.state.presence, further.state.inForce], ["some", true]);
    know();
    assert.equal(verdict(), undefined);
    assert.equal(further.state.presence, "none");
  });

  it("keep a pod that one selects from a bridged network, by the network's name or a definition's", async () => {
    joinLan();
    for (const networks of ["lan", "other/lan", "other/tenant,x"]) {
      definitions = { "other/tenant": "lan" };
      know(policyOf(networks));
      await assert.rejects(
        admit("db-0"),
        /MultiNetworkPolicy shop\/deny selects pod shop\/db-0, and cannot be enforced in network lan/,
      );
      await admit("web-0");
    }
    definitions = {};
    further.sourcesChanged();
    await admit("db-0");
    know(policyOf("lan", { annotations: { "skylane.dev/policy-mode": "audit" } }));
    await admit("db-0");
    know(policyOf("lan", { namespace: "else" }));
    further.change({ policies: { gone: [policyOf("lan")] } });
    await admit("db-0");
    await assert.rejects(
      further.admit({ containerId: "c", ifname: "net1", hostNetns: "/run/netns/other" }, pod("db-0", "db"), []),
      /no network of this node is at/,
    );
  });

  it("tell of pods that run on a bridge, each once, and of no others", () => {
    know(policyOf("lan"));
    joinLan(["db-0", "web-0"]);
    further.sourcesChanged();
    assert.deepEqual(events, [
      "SkylanePolicyNotEnforced MultiNetworkPolicy shop/deny does not hold for pod shop/db-0: network lan is bridged, and policies are not enforced in such",
    ]);
  });
});
