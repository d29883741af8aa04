import assert from "node:assert/strict";
import fc from "fast-check";
import { type PlacesInput, placesOf } from "../../../src/data-path/address-places.ts";

const IP = "10.50.0.9";
const OTHER = "fd50::9";
const MAC = "0a:00:00:00:00:01";
const END = "sky0000000000a";
const port = { ifindex: 7, mac: MAC, ips: [IP, OTHER] };

const places = (known: Partial<PlacesInput>) => {
  const { pods, vacant, elsewhere } = placesOf({
    node: "node1",
    ports: new Map(),
    held: new Set(),
    refused: new Set(),
    arriving: new Map(),
    owners: [],
    ordinary: () => undefined,
    ...known,
  });
  return { pods: [...pods], vacant: [...vacant], elsewhere: [...elsewhere] };
};
const ports = new Map([[END, port]]);
const held = new Set([MAC]);
const elsewhere = [{ node: "node2", ips: [IP, OTHER] }];
const TO_POD = [
  [IP, 7],
  [OTHER, 7],
];

describe("where an address of a claim leads", () => {
  it("is the pod here that has it, whatever another node says", () => {
    assert.deepEqual(places({ ports, held, owners: elsewhere }), { pods: TO_POD, vacant: [], elsewhere: [] });
  });

  it("is the node that publishes it, also where a pod here waits for it", () => {
    const there = [["node2", [IP, OTHER]]];
    assert.deepEqual(places({ owners: elsewhere }), { pods: [], vacant: [], elsewhere: there });
    assert.deepEqual(places({ ports, owners: elsewhere }), { pods: [], vacant: [], elsewhere: there });
  });

  it("is nowhere, when a pod here waits for it and nobody has it", () => {
    assert.deepEqual(places({ ports }), { pods: [], vacant: [IP, OTHER], elsewhere: [] });
    // What this node publishes itself is no other node's.
    const own = [{ node: "node1", ips: [IP] }];
    assert.deepEqual(places({ ports, owners: own }).vacant, [IP, OTHER]);
  });

  it("is left to the plugin while a link is being made, and is the pod's as soon as that is there", () => {
    const arriving = new Map([[END, [IP, OTHER]]]);
    assert.deepEqual(places({ arriving, owners: elsewhere }), { pods: [], vacant: [], elsewhere: [] });
    assert.deepEqual(places({ arriving, ports, owners: elsewhere }).pods, TO_POD);
    // Another pod here that waits for the same takes nothing from it.
    const waiting = new Map([["sky0000000000b", port]]);
    assert.deepEqual(places({ arriving, ports: waiting, owners: elsewhere }), { pods: [], vacant: [], elsewhere: [] });
  });

  it("is the pod here that has it without a claim: no claim can have that", () => {
    const ordinary = (ip: string) => (ip === IP ? 9 : ip === OTHER ? ("unknown" as const) : undefined);
    assert.deepEqual(places({ owners: elsewhere, ordinary }), { pods: [[IP, 9]], vacant: [], elsewhere: [] });
  });

  it("is one of two pods with one MAC address, and not the refused one", () => {
    const two = new Map([
      ["sky0000000000b", { ...port, ifindex: 8 }],
      [END, port],
    ]);
    const refused = new Set(["sky0000000000b"]);
    assert.deepEqual(places({ ports: two, held, refused }), { pods: TO_POD, vacant: [], elsewhere: [] });
  });

  it("is one place, whatever is said", () => {
    const ip = fc.constantFrom("10.50.0.1", "10.50.0.2", "10.50.0.3");
    const ips = fc.uniqueArray(ip);
    const name = fc.constantFrom("a", "b", "c");
    const mac = fc.constantFrom("m1", "m2");
    fc.assert(
      fc.property(
        fc.array(fc.tuple(name, fc.record({ ifindex: fc.nat(9), mac, ips }))),
        fc.uniqueArray(mac),
        fc.uniqueArray(name),
        fc.array(fc.tuple(name, ips)),
        fc.array(fc.record({ node: fc.constantFrom("node1", "node2", "node3"), ips })),
        fc.option(ip),
        (all, macs, refused, arriving, owners, own) => {
          const input = {
            node: "node1",
            ports: new Map(all),
            held: new Set(macs),
            refused: new Set(refused),
            arriving: new Map(arriving),
            owners,
            ordinary: (one: string) => (one === own ? 5 : undefined),
          };
          const { pods, vacant, elsewhere: there } = placesOf(input);
          const nodes = [...there].flatMap(([node, list]) =>
            new Set(list)
              .values()
              .map((one) => [one, node] as const)
              .toArray(),
          );
          const led = [...pods.keys(), ...vacant, ...new Set(nodes.map(([one]) => one))];
          assert.equal(new Set(led).size, led.length, JSON.stringify({ led }));
          assert.ok(!there.has("node1"));
          for (const one of [...input.arriving.values()].flat())
            assert.ok(!vacant.has(one) && !nodes.some(([ip]) => ip === one));
        },
      ),
    );
  });
});
