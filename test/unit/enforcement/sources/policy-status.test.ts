/** What the status of policies of the cluster says, against the lab's API server. */
import assert from "node:assert/strict";
import { PolicyStatuses } from "../../../../src/controller/policy-statuses.ts";
import type { Logger } from "../../../../src/log/index.ts";
import { eventually } from "../../../support/eventually.ts";
import { DEFINITION, Heard } from "./support.ts";

type Condition = Record<string, unknown>;

const SPEC = { tier: "Admin", priority: 1, subject: { namespaces: {} } };
const OTHERS = {
  type: "Ready-In-Zone",
  status: "True",
  reason: "Set",
  message: "m",
  lastTransitionTime: "2026-01-01T00:00:00Z",
};

describe("the status of a ClusterNetworkPolicy", () => {
  let heard: Heard;
  let statuses: PolicyStatuses;
  let leads: boolean;
  /** Why nodes cannot keep domain names. */
  const causes = new Map<string, string>();
  const warnings: string[] = [];

  const conditions = (name: string): Condition[] => {
    const type = heard.api.type("clusternetworkpolicies");
    const status = heard.api.store.get(type, name)?.object["status"] as { conditions?: Condition[] } | undefined;
    return status?.conditions ?? [];
  };
  const said = (name: string, type = "Accepted"): (string | undefined)[] => {
    const one = conditions(name).find((condition) => condition["type"] === `skylane.dev/${type}`);
    return [one?.["status"] as string, one?.["reason"] as string];
  };
  const patches = (): number => heard.asked.filter(({ verb }) => verb === "patch").length;
  const policy = (name: string, spec: object, more: object = {}): void =>
    heard.put("clusternetworkpolicies", { metadata: { name, generation: 1 }, spec: { ...SPEC, ...spec }, ...more });

  beforeEach(async () => {
    leads = true;
    causes.clear();
    warnings.length = 0;
    heard = await Heard.begin();
    heard.put("customresourcedefinitions", DEFINITION);
    statuses = new PolicyStatuses({
      client: heard.client,
      log: { warn: (message: string) => void warnings.push(message) } as unknown as Logger,
      leads: () => leads,
      unstated: () => heard.sources.unstated(causes),
    });
    heard.start({ onUnstated: () => statuses.look() });
  });

  afterEach(async () => {
    await statuses.stop();
    await heard.end();
  });

  it("says that every node enforces it, once, and keeps what others say", async () => {
    policy("plain", {}, { status: { conditions: [OTHERS] } });
    await eventually(() => said("plain")[0] === "True");
    assert.deepEqual(said("plain"), ["True", "Accepted"]);
    assert.deepEqual(conditions("plain")[0], OTHERS);
    assert.equal(conditions("plain")[1]?.["observedGeneration"], 1);
    await eventually(() => heard.sources.unstated(causes).length === 0);
    assert.equal(patches(), 1);
    causes.set("n1", "busy");
    assert.deepEqual(heard.sources.unstated(causes), []);
    assert.deepEqual(said("plain", "DomainNames"), [undefined, undefined]);
  });

  it("says which nodes cannot keep its domain names, with one write a change", async () => {
    const names = { egress: [{ action: "Accept", to: [{ domainNames: ["example.com"] }] }] };
    policy("names", names, { status: { conditions: [OTHERS] } });
    await eventually(() => said("names", "DomainNames")[0] === "True");
    assert.deepEqual([said("names"), said("names", "DomainNames")[1]], [["True", "Accepted"], "Held"]);
    await eventually(() => heard.sources.unstated(causes).length === 0);
    assert.equal(patches(), 1);
    for (const [cause, status] of [
      ["busy", "False"],
      [undefined, "True"],
    ] as const) {
      if (cause === undefined) causes.clear();
      else causes.set("node-7", cause);
      const before = patches();
      statuses.look();
      await eventually(() => said("names", "DomainNames")[0] === status);
      await eventually(() => heard.sources.unstated(causes).length === 0);
      assert.equal(patches(), before + 1);
      const message = String(conditions("names").find(({ type }) => type === "skylane.dev/DomainNames")?.["message"]);
      if (cause !== undefined) assert.match(message, /node-7 \(busy\)/);
      else assert.doesNotMatch(message, /node-7/);
    }
    assert.deepEqual(conditions("names")[0], OTHERS);
  });

  it("says nothing of domain names any more once there are none in it", async () => {
    const names = { egress: [{ action: "Accept", to: [{ domainNames: ["example.com"] }] }] };
    policy("names", names);
    await eventually(() => said("names", "DomainNames")[0] === "True");
    heard.put("clusternetworkpolicies", {
      metadata: { name: "names", generation: 2 },
      spec: SPEC,
      status: { conditions: [OTHERS, ...conditions("names")] },
    });
    await eventually(() => conditions("names").length === 2);
    await eventually(() => said("names")[0] === "True" && heard.sources.unstated(causes).length === 0);
    assert.deepEqual(said("names", "DomainNames"), [undefined, undefined]);
    assert.deepEqual(conditions("names")[0], OTHERS);
  });

  it("says what of it cannot be read, and no more once it is right", async () => {
    policy("partly", { ingress: [{ action: "Accept", from: [{ planets: {} }] }] });
    policy("not-at-all", { subject: { planets: {} } });
    await eventually(() => said("partly")[0] === "False" && said("not-at-all")[0] === "False");
    assert.deepEqual([said("partly")[1], said("not-at-all")[1]], ["Faults", "Invalid"]);
    assert.match(String(conditions("partly")[0]?.["message"]), /ingress\[0\]\.from\[0\].*planets/);
    const since = conditions("partly")[0]?.["lastTransitionTime"];
    heard.put("clusternetworkpolicies", {
      metadata: { name: "partly", generation: 2 },
      spec: { ...SPEC, ingress: [{ action: "Accept", from: [{ namespaces: {} }] }] },
      status: { conditions: conditions("partly") },
    });
    await eventually(() => said("partly")[0] === "True");
    assert.equal(conditions("partly")[0]?.["observedGeneration"], 2);
    assert.equal(conditions("partly").length, 1);
    assert.equal(typeof since, "string");
  });

  it("is put back where somebody changes it, and written by the one agent alone", async () => {
    leads = false;
    policy("plain", {});
    await eventually(() => heard.sources.unstated(causes).length === 1);
    statuses.look();
    leads = true;
    statuses.look();
    await eventually(() => said("plain")[0] === "True");
    policy("plain", {}, { status: { conditions: [{ ...conditions("plain")[0], status: "False" }] } });
    await eventually(() => said("plain")[0] === "True");
    assert.deepEqual(warnings, []);
  });
});
