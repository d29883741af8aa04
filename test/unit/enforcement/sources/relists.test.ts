/** Lists that leave out what is there, and those that leave out what is not there any more. */
import assert from "node:assert/strict";
import { eventually } from "../../../support/eventually.ts";
import { Heard, HERE } from "./support.ts";

const MANY = 300;

describe("sources of network policies: lists", () => {
  let heard: Heard;
  beforeEach(async () => {
    heard = await Heard.begin();
    heard.granted.set(HERE, ["10.1.0.0/16"]);
    heard.policy("shop/deny");
    heard.policy("shop/allow", { podSelector: {}, ingress: [{}] });
    for (let i = 0; i < MANY; i++) heard.pod(`shop/web-${i}`, { ip: `10.1.${i >> 8}.${i & 255}` });
    heard.start();
    await eventually(() => heard.sources.synced("default"));
    assert.deepEqual([heard.told.pods.size, heard.told.policies.size], [MANY, 2]);
    heard.asked.length = 0;
    heard.told.batches.length = 0;
  });
  afterEach(() => heard.end());

  const relists = (resource: string) => heard.sources.watches[resource]?.relists ?? 0;
  const gets = (resource: string) =>
    heard.asked.filter((one) => one.resource === resource && one.verb === "get").length;
  const gone = () =>
    heard.told.batches.flatMap(({ pods, policies, namespaces }) => [
      ...(pods?.gone ?? []),
      ...(policies?.gone ?? []),
      ...(namespaces?.gone ?? []),
    ]);

  for (const [what, action] of [
    ["empty", { kind: "empty-list" }],
    ["short", { kind: "partial-list", keep: 1 }],
  ] as const)
    it(`that come back ${what} take nothing away`, async () => {
      const resources = ["pods", "networkpolicies", "namespaces"];
      await heard.api.faults.set({
        rules: resources.map((one) => ({
          match: { verbs: ["list", "watch"], resources: [one] },
          times: 2,
          action,
        })),
        expireWatches: true,
      });
      // Each list that was wrong is followed by another, until one is whole.
      await eventually(() => resources.every((one) => relists(one) >= 4));
      await eventually(() => Object.values(heard.sources.watches).every(({ unconfirmed }) => unconfirmed === 0));
      heard.pod("shop/last", { ip: "10.1.9.9" });
      heard.policy("shop/last");
      await eventually(() => heard.told.pods.has("shop/last") && heard.told.policies.has("shop/last"));
      assert.deepEqual(gone(), []);
      assert.equal(heard.sources.presence("default"), "some");
      assert.ok(gets("pods") <= 200, `${gets("pods")} questions for ${MANY} pods, twice`);
    });

  it("that leave out what is gone take it away, asking for a part of it", async () => {
    const stays = ["shop/web-7", "shop/web-8"];
    await heard.api.faults.set({ away: true });
    for (const key of heard.told.pods.keys()) if (!stays.includes(key)) heard.remove("pods", key);
    heard.remove("networkpolicies", "shop/allow");
    await heard.api.faults.set({ compact: true });
    await heard.api.faults.set({ away: false });
    await eventually(() => heard.told.pods.size === stays.length && heard.told.policies.size === 1);
    assert.deepEqual([...heard.told.pods.keys()], stays);
    assert.equal(gets("pods"), 100);
    assert.equal(heard.sources.watches["pods"]?.unconfirmed, 0);
  });
});
