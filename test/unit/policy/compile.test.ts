import assert from "node:assert/strict";
import fc from "fast-check";
import { type Changes, passes, PolicyModel } from "../../../src/policy/index.ts";
import type { World } from "../../../src/policy/semantics/types.ts";
import { change, changed, differences, modelOf, NODE, packetsOf, world } from "./support.ts";

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
      }),
      { numRuns: 200 },
    );
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
          const before = packets.filter((packet) => passes(model.ruleset, packet));
          const { revocations } = model.change(one);
          now = next;
          const named = new Set(revocations.map(({ ip, peer }) => `${ip} ${peer ?? "anybody"}`));
          for (const packet of before) {
            if (passes(model.ruleset, packet)) continue;
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

  it("change as their changes say", () => {
    fc.assert(
      fc.property(world, fc.array(change, { maxLength: 6 }), (start, changes) => {
        const model = new PolicyModel(NODE);
        const copy = new Map([...model.ruleset.maps].map(([name]) => [name, new Map<string, unknown>()]));
        const chains = new Set<string>();
        const follow = (changes: Changes | World): void => {
          const { rules } =
            "policies" in changes && Array.isArray(changes.policies)
              ? model.replace(changes as World)
              : model.change(changes as Changes);
          for (const [name] of rules.newChains) assert.ok(!chains.has(name) && chains.add(name), name);
          for (const [name] of rules.newMaps) assert.ok(!copy.has(name) && copy.set(name, new Map()), name);
          for (const { map, come, gone } of rules.maps) {
            for (const [key, value] of gone) {
              assert.equal(copy.get(map)?.get(key), value);
              copy.get(map)?.delete(key);
            }
            for (const [key, value] of come) assert.ok(!copy.get(map)?.has(key) && copy.get(map)?.set(key, value));
          }
          for (const name of rules.goneMaps) assert.ok(copy.delete(name));
          for (const [name] of rules.goneChains) assert.ok(chains.delete(name));
          assert.deepEqual(copy, new Map([...model.ruleset.maps].map(([name, { elements }]) => [name, elements])));
          assert.deepEqual([...chains].sort(), [...model.ruleset.chains.keys()].sort());
        };
        follow(start);
        for (const one of changes) follow(one);
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
    if (spec.kind === "peers" || spec.kind === "blocks") for (const id of elements.values()) classes.add(String(id));
  for (const name of profiles)
    for (const map of ["_port", "_class"])
      for (const key of ruleset.maps.get(`${name}${map}`)?.elements.keys() ?? [])
        assert.ok(classes.has(key.split(" ")[0]), `${name}${map} ${key}`);
  return {
    outcomes: [...ruleset.chains.keys()].filter((name) => !profiles.includes(name)).sort(),
    fixed: fixed.map(([name, { elements }]) => [name, elements.size]),
    profiles: profiles.length,
    maps: ruleset.maps.size,
  };
}
