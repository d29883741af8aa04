import assert from "node:assert/strict";
import fc from "fast-check";
import { Desired, type OverlayEntry } from "../../../src/dataplane/vxlan/index.ts";
import { type LocalNetwork, type Peer } from "../../../src/peers/index.ts";
import { anyPeers, applied, desiredState, entriesOf, local, peer, plan, planOfChanges } from "./support.ts";

const locals: LocalNetwork[] = [
  local,
  { ...local, podCidrs: ["10.244.0.0/24"] },
  { ...local, podCidrs: ["10.244.99.0/24", "fd00:10:244::/64"], vni: 5000 },
  { ...local, podCidrs: ["10.244.0.64/26", "10.244.0.0/26", "fd00:10:244::/122", "fd00:10:244::40/122"] },
];
const copyOf = ({ entries }: Desired): Map<string, OverlayEntry> => new Map(entries);

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
    assert.deepEqual([...entriesOf(state, "address").keys()], ["10.9.1.0", "fd09::100"]);
    assert.deepEqual([...entriesOf(state, "neighbour").keys()], ["10.9.0.64", "fd09::40"]);
    assert.deepEqual(
      Array.from(
        entriesOf(state, "route").values(),
        ({ dst, gateway, prefSrc }) => `${dst} via ${gateway} src ${prefSrc}`,
      ),
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
        entriesOf(desiredState({ ...local, podCidrs }, [{ ...peer(1), hosts }]), "route").values(),
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
    desired.tracker.begin();
    desired.tracker.settle();
    desired.change([
      ["node1", peer(1)],
      ["node2", { ...peer(2), hosts }],
    ]);
    const [operation, ...more] = planOfChanges(desired, desired.tracker.begin(), new Set());
    assert.deepEqual(more, []);
    assert.ok(operation?.kind === "route" && operation.op === "replace", JSON.stringify(operation));
    assert.deepEqual([operation.route.dst, operation.route.gateway], ["10.244.9.7/32", "10.244.2.0"]);
  });

  it("of a network that routes nothing is FDB entries alone", () => {
    const { entries } = desiredState({ ...local, podCidrs: [] }, [{ ...peer(1), podCidrs: [] }]);
    assert.deepEqual([...entries.keys()], [`fdb ${peer(1).mac}`]);
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
        let before = copyOf(desired);
        desired.tracker.begin();
        desired.tracker.settle();
        let missing = new Set<string>();
        for (const { peers, own, missed } of steps) {
          if (own !== desired.local) desired.setLocal(own);
          desired.change(changeTo(desired, peers));
          assert.deepEqual(copyOf(desired), copyOf(desiredState(own, peers)));
          const whole = plan(desired, applied(before, missing));
          const changes = planOfChanges(desired, desired.tracker.begin(), missing);
          assert.deepEqual(inOrder(changes), inOrder(whole));
          assert.deepEqual(stepsOf(changes), stepsOf(whole));
          before = copyOf(desired);
          desired.tracker.settle();
          const keys = [...desired.entries.keys()];
          missing = new Set(missed.map((n) => keys[n % keys.length] as string));
        }
      }),
      { numRuns: 200 },
    );
  });

  it("plans one peer's own entries when it comes, whoever else is there, and nothing when nothing changed", () => {
    const desired = new Desired(local);
    desired.change([1, 2, 3].map((n) => [`node${n}`, peer(n)]));
    desired.tracker.begin();
    desired.tracker.settle();
    assert.deepEqual(planOfChanges(desired, desired.tracker.begin(), new Set()), []);
    desired.tracker.settle();
    desired.change([["node4", peer(4)]]);
    assert.deepEqual([...desired.tracker.changed.keys()].length, 5);
    desired.change([["node4", undefined]]);
    assert.deepEqual([...desired.tracker.changed.keys()], []);
  });

  it("remembers what was begun and not done", () => {
    const desired = new Desired(local);
    desired.tracker.begin();
    desired.tracker.settle();
    desired.change([["node1", peer(1)]]);
    const begun = [...desired.tracker.begin().keys()];
    desired.change([["node1", { ...peer(1), underlayIp: "172.30.9.9" }]]);
    assert.deepEqual(
      [...desired.tracker.changed],
      [["fdb 02:00:00:00:00:01", { kind: "fdb", mac: peer(1).mac, dst: peer(1).underlayIp }]],
    );
    desired.tracker.putBack();
    assert.deepEqual([...desired.tracker.changed.keys()].sort(), begun.sort());
    assert.equal(desired.tracker.changed.get("fdb 02:00:00:00:00:01"), undefined);
  });
});
