import assert from "node:assert/strict";
import fc from "fast-check";
import { PolicyModel, readNetworkPolicy } from "../../../src/policy/index.ts";
import type { Pod } from "../../../src/policy/semantics/types.ts";
import { change, changed, differences, follower, modelOf, NODE, packetsOf, POD_CIDRS, world } from "./support.ts";

describe("compiled policies", () => {
  it("say what the oracle says, of every pod, peer, protocol, port and direction", () => {
    fc.assert(
      fc.property(world, (world) => {
        assert.deepEqual(differences(world, modelOf(world)).slice(0, 5), []);
      }),
      { numRuns: 300 },
    );
  });

  it("say so after every change, and leave nothing behind that rules made at once would not have", () => {
    fc.assert(
      fc.property(world, fc.array(change, { minLength: 1, maxLength: 8 }), (start, changes) => {
        const model = modelOf(start);
        let now = start;
        for (const one of changes) {
          model.change(one);
          now = changed(now, one);
          assert.deepEqual(differences(now, model).slice(0, 5), []);
        }
        assert.deepEqual(model.sizes(), modelOf(now).sizes());
        assert.deepEqual(shape(model), shape(modelOf(now)));
        const audits = auditsOf(model);
        for (const name of auditsOf(modelOf(now))) assert.ok(audits.includes(name), name);
      }),
      { numRuns: 200 },
    );
  });

  it("say so also where they keep what no pod has at present, and follow their own changes", () => {
    fc.assert(
      fc.property(world, fc.array(change, { minLength: 1, maxLength: 8 }), (start, changes) => {
        const model = modelOf(start, 4);
        const follow = follower(model);
        let now = start;
        for (const one of changes) {
          follow(model.change(one).rules);
          now = changed(now, one);
          assert.deepEqual(differences(now, model).slice(0, 5), []);
        }
        assert.ok(model.sizes().profiles <= modelOf(now).sizes().profiles + 4);
        follow(model.replace({ policies: [] }).rules);
        assert.ok(model.idle, "nothing is kept of policies that are gone");
        assert.deepEqual(shape(model), shape(modelOf({ ...now, policies: [] })));
      }),
      { numRuns: 100 },
    );
  });

  it("have nothing but elements to change where a pod of a kind comes that was here, or was expected", () => {
    const pod = (name: string, app: string, ips: string[]): Pod => ({
      namespace: "red",
      name,
      labels: { app },
      ips,
      ports: [],
      node: NODE,
      hostNetwork: false,
      ended: false,
    });
    const { policy } = readNetworkPolicy({
      metadata: { namespace: "red", name: "p" },
      spec: { podSelector: {}, policyTypes: ["Ingress", "Egress"], ingress: [{ from: [{ podSelector: {} }] }] },
    });
    assert.ok(policy);
    const model = new PolicyModel(NODE, POD_CIDRS, 8);
    model.replace({ pods: [], policies: [policy] });
    assert.ok(model.idle);
    const expected = model.change({ pods: { set: [pod("one", "a", [])] } }).rules;
    assert.ok(expected.newChains.length > 0, "its rules are made before its addresses are known");
    assert.ok(!model.idle);
    const come = model.change({ pods: { set: [pod("one", "a", ["10.0.0.1", "fd00::1"])] } }).rules;
    assert.ok(come.elementsOnly && come.maps.length > 0);
    const gone = model.change({ pods: { gone: [{ namespace: "red", name: "one" }] } }).rules;
    assert.ok(gone.elementsOnly && gone.maps.length > 0);
    const again = model.change({ pods: { set: [pod("two", "a", ["10.0.0.2"])] } }).rules;
    assert.ok(again.elementsOnly && again.maps.length > 0);
    assert.equal(model.selected().get("NetworkPolicy red/p")?.size, 1);
  });

  it("are nothing where there are no policies, and nothing again when they are gone", () => {
    fc.assert(
      fc.property(world, (world) => {
        const without = modelOf({ ...world, policies: [] });
        assert.ok(without.idle);
        const nothing = shape(without);
        without.replace({ policies: world.policies });
        without.replace({ policies: [] });
        assert.ok(without.idle);
        assert.deepEqual(shape(without), nothing);
        assert.deepEqual(nothing, shape(new PolicyModel(NODE)));
      }),
      { numRuns: 50 },
    );
  });

  it("name every pod here, and the peer, of which a change takes something away", () => {
    let taken = 0;
    fc.assert(
      fc.property(world, fc.array(change, { minLength: 1, maxLength: 6 }), (start, changes) => {
        const model = modelOf(start);
        let now = start;
        for (const one of changes) {
          const next = changed(now, one);
          const packets = packetsOf(now, next);
          const before = packets.filter((packet) => model.passes(packet));
          const { revocations } = model.change(one);
          now = next;
          const named = new Set(revocations.map(({ ip, peer }) => `${ip} ${peer ?? "anybody"}`));
          for (const packet of before) {
            if (model.passes(packet)) continue;
            taken++;
            const { source, destination } = packet;
            const names = [source, destination].flatMap((ip, i, both) => [`${ip} ${both[1 - i]}`, `${ip} anybody`]);
            assert.ok(
              names.some((name) => named.has(name)),
              JSON.stringify(packet),
            );
          }
        }
      }),
      { numRuns: 200 },
    );
    assert.ok(taken > 100, `${taken} packets`);
  });

  it("name the peer whose port of a name is another one", () => {
    const pod = (name: string, port: number): Pod => ({
      namespace: "red",
      name,
      labels: {},
      ips: [name === "client" ? "10.0.0.1" : "10.0.0.2"],
      ports: [{ name: "web", protocol: "TCP", port }],
      node: name === "client" ? NODE : "there",
      hostNetwork: false,
      ended: false,
    });
    const { policy } = readNetworkPolicy({
      metadata: { namespace: "red", name: "p" },
      spec: { policyTypes: ["Egress"], egress: [{ ports: [{ port: "web" }] }] },
    });
    assert.ok(policy);
    const model = new PolicyModel(NODE);
    model.replace({ pods: [pod("client", 1), pod("server", 80)], policies: [policy] });
    const { revocations } = model.change({ pods: { set: [pod("server", 81)] } });
    assert.deepEqual(revocations, [{ ip: "10.0.0.1", peer: "10.0.0.2" }]);
  });

  it("change as their changes say", () => {
    fc.assert(
      fc.property(world, fc.array(change, { maxLength: 6 }), (start, changes) => {
        const model = new PolicyModel(NODE);
        const follow = follower(model);
        follow(model.replace(start).rules);
        for (const one of changes) follow(model.change(one).rules);
      }),
      { numRuns: 200 },
    );
  });
});

/**
 * Chains of outcomes by name, and how many there are of everything that has a number. What a profile says of everybody is a matter of when it
 * came: of its maps it is only said that they know no class that is none.
 */
function shape({ ruleset }: PolicyModel): unknown {
  const fixed = [...ruleset.maps].filter(([name]) => !name.includes("_"));
  const profiles = [...ruleset.chains].filter(([, { kind }]) => kind === "profile").map(([name]) => name);
  const classes = new Set<unknown>(["0"]);
  for (const [, { spec, elements }] of fixed)
    if (spec.kind === "peers" || spec.kind === "blocks" || spec.kind === "named")
      for (const id of elements.values()) classes.add(String(id).split(" ")[0]);
  for (const name of profiles)
    for (const map of ["_port", "_class"])
      for (const key of ruleset.maps.get(`${name}${map}`)?.elements.keys() ?? [])
        assert.ok(classes.has(key.split(" ")[0]), `${name}${map} ${key}`);
  return {
    outcomes: [...ruleset.chains.keys()].filter((name) => !profiles.includes(name) && !isAudit(name)).sort(),
    fixed: fixed.map(([name, { elements }]) => [name, elements.size]),
    profiles: profiles.length,
    maps: ruleset.maps.size,
  };
}

/** What is said in audit mode depends on classes that came, and stays as long as the profile, led to or not. */
const isAudit = (name: string): boolean => name.startsWith("audit_");
const auditsOf = ({ ruleset }: PolicyModel): string[] => [...ruleset.chains.keys()].filter(isAudit);
