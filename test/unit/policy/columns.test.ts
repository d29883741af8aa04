/** What keeps a large cluster's pods and addresses in little memory says what plain maps of the same would say. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { parseIp } from "../../../src/addr/index.ts";
import { PodColumns } from "../../../src/kube/pods/pod-columns.ts";
import { PodEntry } from "../../../src/kube/pods/pod-entry.ts";
import { AddressNumbers } from "../../../src/policy/compile/cluster/address-numbers.ts";
import type { Identity } from "../../../src/policy/compile/cluster/identities.ts";
import { NO_ROW, PodRows } from "../../../src/policy/compile/cluster/pod-rows.ts";

/** Few enough of each that they meet again. */
const ip = fc.oneof(
  fc.integer({ min: 0, max: 40 }).map((n) => `10.0.${n >> 4}.${n & 15}`),
  fc.integer({ min: 0, max: 40 }).map((n) => parseIp(`fd00::${n.toString(16)}`)),
  fc.constantFrom("0.0.0.0", "::", "::1", "::ff00:0:0", "255.255.255.255"),
);
const key = fc.integer({ min: 0, max: 30 }).map((n) => `shop/pod${n}`);

describe("columns of a large cluster", () => {
  it("give addresses numbers, and again once they are forgotten", () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(ip, fc.boolean()), { maxLength: 400 }), (steps) => {
        const numbers = new AddressNumbers();
        const known = new Map<string, number>();
        for (const [one, stays] of steps) {
          if (stays) {
            const number = numbers.of(one);
            assert.equal(number, known.get(one) ?? number);
            known.set(one, number);
          } else if (known.has(one)) {
            numbers.forget(known.get(one) as number);
            known.delete(one);
          }
          assert.equal(numbers.find(one), known.get(one));
        }
        assert.equal(new Set(known.values()).size, known.size, "no two have one number");
        for (const [one, number] of known) {
          assert.equal(numbers.text(number), one);
          assert.equal(numbers.find(one), number);
          assert.equal(numbers.family(number), one.includes(":") ? 6 : 4);
        }
      }),
    );
  });

  it("find each of many addresses", () => {
    const numbers = new AddressNumbers();
    const all = Array.from({ length: 5_000 }, (_, n) => `10.${n >> 8}.${n & 255}.1`);
    const given = all.map((one) => numbers.of(one));
    for (const [at, number] of given.entries()) if (at % 3 === 0) numbers.forget(number);
    for (const [at, one] of all.entries()) assert.equal(numbers.find(one), at % 3 === 0 ? undefined : given[at]);
  });

  it("keep pods as they are", () => {
    const making = fc.constantFrom(
      ...["shop", "bank"].map((namespace) => ({ namespace, labels: { in: namespace }, ports: [] })),
    );
    const entry = fc.record({
      making,
      node: fc.constantFrom("n1", "n2", ""),
      ips: fc.uniqueArray(ip, { maxLength: 3 }),
      uid: fc.constantFrom("", "uid"),
    });
    fc.assert(
      fc.property(fc.array(fc.tuple(key, fc.option(entry)), { maxLength: 200 }), (steps) => {
        const columns = new PodColumns();
        const plain = new Map<string, PodEntry>();
        for (const [name, one] of steps) {
          if (one) {
            const kept = new PodEntry(name, one.making, one.node, one.ips, one.uid);
            columns.set(name, kept);
            plain.set(name, kept);
          } else assert.equal(columns.delete(name), plain.delete(name));
          assert.deepEqual(columns.get(name), plain.get(name));
          assert.equal(columns.has(name), plain.has(name));
        }
        assert.equal(columns.size, plain.size);
        assert.deepEqual([...columns], [...plain]);
        assert.deepEqual([...columns.values()], [...plain.values()]);
        assert.deepEqual([...columns.keys()], [...plain.keys()]);
        assert.deepEqual(
          [...columns.nodes()],
          [...plain].map(([name, { node }]) => [name, node]),
        );
        assert.deepEqual(
          [...columns.makings()],
          [...plain.values()].map((one) => one.making),
        );
      }),
    );
  });

  it("lead from an identity to its pods", () => {
    const step = fc.tuple(key, fc.option(fc.tuple(fc.nat(2), fc.array(fc.nat(9), { maxLength: 4 }), fc.boolean())));
    fc.assert(
      fc.property(fc.array(step, { maxLength: 200 }), (steps) => {
        const rows = new PodRows();
        const identities = [0, 1, 2].map(
          (id) => ({ id, first: NO_ROW, locals: 0 }) as Pick<Identity, "id" | "first" | "locals"> as Identity,
        );
        const plain = new Map<string, { identity: Identity; addresses: number[]; local: boolean }>();
        for (const [name, pod] of steps) {
          const row = rows.find(name);
          assert.equal(row !== undefined, plain.delete(name));
          if (row !== undefined) rows.remove(row);
          if (!pod) continue;
          const [id, addresses, local] = pod;
          const identity = identities[id] as Identity;
          rows.add(name, identity, addresses, local);
          plain.set(name, { identity, addresses, local });
        }
        assert.deepEqual([...rows.keys()], [...plain.keys()]);
        for (const identity of identities) {
          const own = [...plain].filter(([, one]) => one.identity === identity);
          assert.equal(identity.locals, own.filter(([, { local }]) => local).length);
          const found = [...rows.of(identity)].map((row) => rows.keyOf(row));
          assert.deepEqual(found.toSorted(), own.map(([name]) => name).toSorted());
        }
        for (const [name, { identity, addresses, local }] of plain) {
          const row = rows.find(name) as number;
          assert.equal(rows.identityOf(row), identity);
          assert.deepEqual(rows.addressesOf(row), addresses);
          assert.equal(rows.isLocal(row), local);
        }
      }),
    );
  });
});
