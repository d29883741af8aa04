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
  const warnings: string[] = [];

  const conditions = (name: string): Condition[] => {
    const type = heard.api.type("clusternetworkpolicies");
    const status = heard.api.store.get(type, name)?.object["status"] as { conditions?: Condition[] } | undefined;
    return status?.conditions ?? [];
  };
  const said = (name: string): (string | undefined)[] => {
    const one = conditions(name).find(({ type }) => type === "skylane.dev/Accepted");
    return [one?.["status"] as string, one?.["reason"] as string];
  };
  const policy = (name: string, spec: object, more: object = {}): void =>
    heard.put("clusternetworkpolicies", { metadata: { name, generation: 1 }, spec: { ...SPEC, ...spec }, ...more });

  beforeEach(async () => {
    leads = true;
    warnings.length = 0;
    heard = await Heard.begin();
    heard.put("customresourcedefinitions", DEFINITION);
    statuses = new PolicyStatuses({
      client: heard.client,
      log: { warn: (message: string) => void warnings.push(message) } as unknown as Logger,
      leads: () => leads,
      unstated: () => heard.sources.unstated(),
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
    await eventually(() => heard.sources.unstated().length === 0);
    assert.equal(heard.asked.filter(({ verb }) => verb === "patch").length, 1);
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
    await eventually(() => heard.sources.unstated().length === 1);
    statuses.look();
    leads = true;
    statuses.look();
    await eventually(() => said("plain")[0] === "True");
    policy("plain", {}, { status: { conditions: [{ ...conditions("plain")[0], status: "False" }] } });
    await eventually(() => said("plain")[0] === "True");
    assert.deepEqual(warnings, []);
  });
});
