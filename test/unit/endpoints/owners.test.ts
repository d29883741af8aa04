/** Who owns an address: the same for all who look, and a take-over wins by its number. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type Endpoint,
  type EndpointLists,
  judgeSighting,
  ownersOf,
  withdrawals,
} from "../../../src/endpoints/index.ts";

const mac = (n: number): string => `02:00:00:00:00:0${n}`;
const ip = (n: number): string => `10.7.0.${n}`;

const anyEndpoint: fc.Arbitrary<Endpoint> = fc.record({
  mac: fc.integer({ min: 1, max: 5 }).map(mac),
  ips: fc.uniqueArray(fc.integer({ min: 1, max: 6 }).map(ip), { maxLength: 2 }),
  moves: fc.integer({ min: 0, max: 3 }),
});
const NODES = ["a", "b", "c"];
const anyLists: fc.Arbitrary<EndpointLists> = fc
  .array(fc.array(anyEndpoint, { maxLength: 4 }), { minLength: 3, maxLength: 3 })
  .map((lists) => new Map(lists.map((list, n) => [NODES[n] as string, list])));

const shape = (lists: EndpointLists) => {
  const { byMac, byIp } = ownersOf(lists);
  const text = ({ node, mac: m, ips, moves }: { node: string } & Endpoint) =>
    `${node} ${m} ${[...ips].sort().join()} ${moves}`;
  return {
    macs: [...byMac].map(([key, owner]) => `${key} ${text(owner)}`).sort(),
    ips: [...byIp].map(([key, owner]) => `${key} ${text(owner)}`).sort(),
  };
};

describe("owners of addresses that may be on any node", () => {
  it("are the same whatever order nodes and endpoints are heard of in", () => {
    const shuffled = anyLists.chain((lists) =>
      fc
        .tuple(
          fc.shuffledSubarray([...lists.keys()], { minLength: lists.size }),
          ...[...lists.values()].map((list) => fc.shuffledSubarray([...list], { minLength: list.length })),
        )
        .map(([order, ...orders]) => {
          const names = [...lists.keys()];
          const other = new Map(order.map((name) => [name, orders[names.indexOf(name)] as Endpoint[]]));
          return [lists, other] as const;
        }),
    );
    fc.assert(fc.property(shuffled, ([one, other]) => assert.deepEqual(shape(one), shape(other))));
  });

  it("hold all addresses of an endpoint or none, and no address has two", () => {
    fc.assert(
      fc.property(anyLists, (lists) => {
        const { byMac, byIp, lost } = ownersOf(lists);
        for (const owner of byMac.values()) for (const address of owner.ips) assert.equal(byIp.get(address), owner);
        for (const owner of byIp.values()) assert.equal(byMac.get(owner.mac), owner);
        const total = [...lists.values()].reduce((sum, list) => sum + list.length, 0);
        assert.equal(byMac.size + lost.length, total);
      }),
    );
  });

  it("lose to nobody with fewer moves", () => {
    fc.assert(
      fc.property(anyLists, (lists) => {
        for (const { endpoint, to } of ownersOf(lists).lost) {
          assert.ok(to.moves > endpoint.moves || (to.moves === endpoint.moves && to.node <= endpoint.node));
        }
      }),
    );
  });

  it("are settled once every node withdraws what it lost", () => {
    fc.assert(
      fc.property(anyLists, (lists) => {
        const owners = ownersOf(lists);
        const settled = new Map(
          NODES.map((node) => [node, [...owners.byMac.values()].filter((owner) => owner.node === node)]),
        );
        assert.deepEqual(shape(settled), shape(lists));
        for (const node of NODES) assert.equal(withdrawals(ownersOf(settled), node).size, 0);
      }),
    );
  });

  it("change to whoever takes over with a claim of its own, against any lists", () => {
    fc.assert(
      fc.property(anyLists, fc.constantFrom(...NODES), anyEndpoint, (lists, node, { mac: m, ips }) => {
        const owners = ownersOf(lists);
        const verdict = judgeSighting(lists, owners, node, { mac: m, entitled: { mac: m, ips } });
        if (verdict.kind === "ours") return assert.equal(owners.byMac.get(m)?.node, node);
        assert.equal(verdict.kind, "transfer");
        if (verdict.kind !== "transfer") return;
        const others = (lists.get(node) ?? []).filter((own) => own.mac !== m);
        const after = ownersOf(new Map(lists).set(node, [...others, verdict.endpoint]));
        assert.equal(after.byMac.get(m)?.node, node);
        for (const address of ips) assert.equal(after.byIp.get(address)?.mac, m);
        for (const other of NODES) {
          if (other === node || !lists.get(other)?.some((endpoint) => endpoint.mac === m)) continue;
          assert.equal(withdrawals(after, other).get(m)?.node, node, "the former owner hears whose it is now");
        }
      }),
    );
  });

  it("are safe from a pod that sends from a foreign MAC without a claim", () => {
    const lists = new Map([["a", [{ mac: mac(1), ips: [ip(1)], moves: 0 }]]]);
    const owners = ownersOf(lists);
    const spoofed = judgeSighting(lists, owners, "b", { mac: mac(1) });
    assert.deepEqual(spoofed, {
      kind: "refused",
      reason: `MAC address ${mac(1)} belongs to an endpoint on node a, and the pod that sends from it has no claim to it`,
    });
    const other = judgeSighting(lists, owners, "b", { mac: mac(1), entitled: { mac: mac(2), ips: [ip(1)] } });
    assert.equal(other.kind, "refused");
  });

  it("go to the node whose name comes first where the moves are the same", () => {
    const endpoint = { mac: mac(1), ips: [ip(1)], moves: 2 };
    const owners = ownersOf(
      new Map([
        ["b", [endpoint]],
        ["a", [endpoint]],
      ]),
    );
    assert.equal(owners.byMac.get(mac(1))?.node, "a");
    assert.equal(withdrawals(owners, "b").get(mac(1))?.node, "a");
    assert.equal(withdrawals(owners, "a").size, 0);
  });
});
