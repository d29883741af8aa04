import assert from "node:assert/strict";
import fc from "fast-check";
import { assumedActual } from "../../../src/dataplane/vxlan/plan/actual.ts";
import { Desired } from "../../../src/dataplane/vxlan/desired/desired.ts";
import { keysOf, partOf, entryOf } from "../../../src/dataplane/vxlan/desired/entries.ts";
import { type DesiredState, type LocalNetwork, type Peer } from "../../../src/peers/index.ts";
import { desiredState, plan } from "../../../src/dataplane/vxlan/index.ts";
import { planChanges } from "../../../src/dataplane/vxlan/plan/plan-changes.ts";
import { anyPeers, local, peer } from "./support.ts";

const device = { ifindex: 9, vni: local.vni, port: local.port };
const locals: LocalNetwork[] = [
  local,
  { ...local, podCidrs: ["10.244.0.0/24"] },
  { ...local, podCidrs: ["10.244.99.0/24", "fd00:10:244::/64"], vni: 5000 },
  { ...local, podCidrs: ["10.244.0.64/26", "10.244.0.0/26", "fd00:10:244::/122", "fd00:10:244::40/122"] },
];
const copyOf = (state: DesiredState): DesiredState => partOf(state, keysOf(state), (key) => entryOf(state, key));

/** All peers as a change: those that are not among them have left. */
function changeTo(desired: Desired, peers: readonly Peer[]): Map<string, Peer | undefined> {
  const gone = [...desired.peers.keys()].map((node) => [node, undefined] as const);
  return new Map<string, Peer | undefined>([...gone, ...peers.map((one) => [one.node, one] as const)]);
}

const inOrder = (operations: ReturnType<typeof plan>): string[] => operations.map((one) => JSON.stringify(one)).sort();
const stepsOf = (operations: ReturnType<typeof plan>): string[] =>
  operations.map(({ op, kind }) => `${op === "del" ? "remove" : "put"} ${kind}`);

describe("the desired state", () => {
  it("has one VTEP address a family, that of the first block, and a route a block", () => {
    const blocks = ["10.9.0.64/26", "fd09::40/122", "10.9.0.0/26", "fd09::/122"];
    const state = desiredState({ ...local, podCidrs: ["10.9.1.0/26", "10.9.1.64/26", "fd09::100/122"] }, [
      { ...peer(1), podCidrs: blocks },
    ]);
    assert.deepEqual([...state.addresses.keys()], ["10.9.1.0", "fd09::100"]);
    assert.deepEqual([...state.neighbours.keys()], ["10.9.0.64", "fd09::40"]);
    assert.deepEqual(
      Array.from(state.routes.values(), ({ dst, gateway, prefSrc }) => `${dst} via ${gateway} src ${prefSrc}`),
      [
        "10.9.0.64/26 via 10.9.0.64 src 10.9.1.0",
        "fd09::40/122 via fd09::40 src fd09::100",
        "10.9.0.0/26 via 10.9.0.64 src 10.9.1.0",
        "fd09::/122 via fd09::40 src fd09::100",
      ],
    );
  });

  it("has a route to each single address that a peer has, in the families that it reaches, also out of others' prefixes", () => {
    const hosts = ["10.244.9.7", "fd00:10:244:9::7", "10.244.0.5"];
    const routes = ({ podCidrs }: Pick<LocalNetwork, "podCidrs">) =>
      Array.from(
        desiredState({ ...local, podCidrs }, [{ ...peer(1), hosts }]).routes.values(),
        ({ dst, gateway, prefSrc }) => `${dst} via ${gateway} src ${prefSrc}`,
      ).filter((text) => /(\/32|\/128) /.test(text));
    assert.deepEqual(routes(local), [
      "10.244.9.7/32 via 10.244.1.0 src 10.244.0.0",
      "fd00:10:244:9::7/128 via fd00:10:244:1:: src fd00:10:244::",
      "10.244.0.5/32 via 10.244.1.0 src 10.244.0.0",
    ]);
    assert.equal(routes({ podCidrs: local.podCidrs.slice(0, 1) }).length, 2);
  });

  it("replaces the one route to an address that another peer has now", () => {
    const hosts = ["10.244.9.7"];
    const desired = new Desired(local);
    desired.change([
      ["node1", { ...peer(1), hosts }],
      ["node2", peer(2)],
    ]);
    desired.begin();
    desired.settle();
    desired.change([
      ["node1", peer(1)],
      ["node2", { ...peer(2), hosts }],
    ]);
    const [operation, ...more] = planChanges(desired.state, desired.begin(), device, new Set());
    assert.deepEqual(more, []);
    assert.ok(operation?.kind === "route" && operation.op === "replace", JSON.stringify(operation));
    assert.deepEqual([operation.route.dst, operation.route.gateway], ["10.244.9.7/32", "10.244.2.0"]);
  });

  it("of a network that routes nothing is FDB entries alone", () => {
    const { addresses, fdb, neighbours, routes } = desiredState({ ...local, podCidrs: [] }, [
      { ...peer(1), podCidrs: [] },
    ]);
    assert.deepEqual([addresses.size, fdb.size, neighbours.size, routes.size], [0, 1, 0, 0]);
  });

  const step = fc.record({
    peers: anyPeers,
    own: fc.constantFrom(...locals),
    missed: fc.array(fc.nat(), { maxLength: 3 }),
  });

  it("comes to the same by changes, and so does the plan of what changed, whatever could not be put in place", () => {
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 8 }), (steps) => {
        const desired = new Desired(local);
        let before = copyOf(desired.state);
        desired.begin();
        desired.settle();
        let missing = new Set<string>();
        for (const { peers, own, missed } of steps) {
          if (own !== desired.local) desired.setLocal(own);
          desired.change(changeTo(desired, peers));
          assert.deepEqual(copyOf(desired.state), copyOf(desiredState(own, peers)));
          const whole = plan(desired.state, assumedActual(before, device, missing));
          const changes = planChanges(desired.state, desired.begin(), device, missing);
          assert.deepEqual(inOrder(changes), inOrder(whole));
          assert.deepEqual(stepsOf(changes), stepsOf(whole));
          before = copyOf(desired.state);
          desired.settle();
          const keys = [...keysOf(desired.state)];
          missing = new Set(missed.map((n) => keys[n % keys.length] as string));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("plans one peer's own entries when it comes, whoever else is there, and nothing when nothing changed", () => {
    const desired = new Desired(local);
    desired.change([1, 2, 3].map((n) => [`node${n}`, peer(n)]));
    desired.begin();
    desired.settle();
    assert.deepEqual(planChanges(desired.state, desired.begin(), device, new Set()), []);
    desired.settle();
    desired.change([["node4", peer(4)]]);
    assert.deepEqual([...desired.changed.keys()].length, 5);
    desired.change([["node4", undefined]]);
    assert.deepEqual([...desired.changed.keys()], []);
  });

  it("remembers what was begun and not done", () => {
    const desired = new Desired(local);
    desired.begin();
    desired.settle();
    desired.change([["node1", peer(1)]]);
    const begun = [...desired.begin().keys()];
    desired.change([["node1", { ...peer(1), underlayIp: "172.30.9.9" }]]);
    assert.deepEqual([...desired.changed], [["fdb 02:00:00:00:00:01", { mac: peer(1).mac, dst: peer(1).underlayIp }]]);
    desired.putBack();
    assert.deepEqual([...desired.changed.keys()].sort(), begun.sort());
    assert.equal(desired.changed.get("fdb 02:00:00:00:00:01"), undefined);
  });
});
