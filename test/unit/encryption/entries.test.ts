import assert from "node:assert/strict";
import fc from "fast-check";
import {
  DesiredEncryption,
  type EncryptionActual,
  type EncryptionEntry,
  entriesOfLocal,
  entriesOfPeer,
  keyOfEntry,
} from "../../../src/dataplane/encryption/entries.ts";
import { encryptionOperations } from "../../../src/dataplane/encryption/operations.ts";
import { type Lane, type OwnKeys } from "../../../src/dataplane/encryption/lanes.ts";
import type { Peer } from "../../../src/peers/index.ts";
import { DeltaTracker, planAll } from "../../../src/reconcile/index.ts";

const OWN: OwnKeys = { slot: 0, key: "own=" };
const local = { underlayIp: "172.30.0.1", port: 4789, encryption: "wireguard" as const };
const strict = { ...local, encryption: "strict" as const };
const on = { devices: new Map<Lane, number>([[0, 7]]), family: 4 as const };
const peer = (number: number, more: Partial<Peer> = {}): Peer => ({
  node: `node${number}`,
  mac: "02:00:00:00:00:01",
  underlayIp: `172.30.0.${number}`,
  podCidrs: [],
  wireguard: { key: `key${number}`, port: 51_871 },
  ...more,
});
const words = (entries: Iterable<EncryptionEntry>): string[] => [...entries].map(keyOfEntry).sort();
const { wireguard: _, ...plain } = peer(3);

describe("what encryption takes of the kernel", () => {
  it("is a peer, a route, and one to nowhere behind it, for each node with a key", () => {
    assert.deepEqual(words(entriesOfLocal(local)), ["rule 4789", "rule 4789 back", "rule 4789 back many"]);
    assert.deepEqual(words(entriesOfPeer(local, peer(2), OWN)), [
      "peer skylane-wg key2",
      "route 172.30.0.2/32",
      "route 172.30.0.2/32 nowhere",
    ]);
  });

  it("is nothing for a node without a key, or with this node's own", () => {
    assert.deepEqual(entriesOfPeer(local, plain, OWN), []);
    assert.deepEqual(entriesOfPeer(local, peer(2, { wireguard: { key: OWN.key, port: 1 } }), OWN), []);
  });

  it("leads everything else nowhere where it is strict, to other ports of peers, too", () => {
    assert.deepEqual(words(entriesOfLocal(strict)), [
      "route default nowhere",
      "rule 4789",
      "rule 4789 back",
      "rule 4789 back many",
    ]);
    assert.deepEqual(words(entriesOfPeer(strict, { ...plain, port: 8472 }, OWN)), ["rule 8472 to 172.30.0.3/32"]);
    assert.deepEqual(entriesOfPeer(local, { ...plain, port: 8472 }, OWN), []);
    assert.ok(words(entriesOfPeer(local, peer(2, { port: 8472 }), OWN)).includes("rule 8472 to 172.30.0.2/32"));
  });

  const next = { key: "key2", port: 51_871, slot: 0 as const, next: "next2" };

  it("is a peer for each lane to a node that changes its key, the way back by all of them, and a route by the one to send by", () => {
    const entries = entriesOfPeer(local, peer(2, { wireguard: next }), OWN, 1);
    assert.deepEqual(words(entries), [
      "back 172.30.0.2/32",
      "peer skylane-wg key2",
      "peer skylane-wg01 next2",
      "route 172.30.0.2/32",
      "route 172.30.0.2/32 nowhere",
    ]);
    const many = { ...on, devices: new Map<Lane, number>([...on.devices, [1, 8]]) };
    const operations = planAll(
      { entries: new Map(entries.map((one) => [keyOfEntry(one), one])) },
      [],
      encryptionOperations,
      many,
    );
    assert.deepEqual(
      operations.operations.map((operation) => ("route" in operation ? operation.route : operation.op)),
      [
        { family: 4, dst: "172.30.0.2/32", table: 51_872, hops: [7, 8] },
        "put",
        "put",
        { family: 4, dst: "172.30.0.2/32", table: 51_871, ifindex: 8 },
        { family: 4, dst: "172.30.0.2/32", table: 51_871, type: 7, metric: 0x7fff_fff0 },
      ],
    );
    // IPv6 has no filter by the way back.
    const over6 = { ...local, underlayIp: "fd30::1" };
    assert.ok(
      !words(entriesOfPeer(over6, peer(2, { underlayIp: "fd30::2", wireguard: next }), OWN)).some((one) =>
        one.startsWith("back"),
      ),
    );
  });

  it("waits for a device that cannot be made, and takes the way back by the others", () => {
    const entries = entriesOfPeer(local, peer(2, { wireguard: next }), OWN, 1);
    const { operations, waiting } = planAll(
      { entries: new Map(entries.map((one) => [keyOfEntry(one), one])) },
      [],
      encryptionOperations,
      on,
    );
    assert.deepEqual(waiting, ["peer skylane-wg01 next2", "route 172.30.0.2/32"]);
    assert.deepEqual(operations[0], {
      op: "replace",
      kind: "route",
      route: { family: 4, dst: "172.30.0.2/32", table: 51_872, ifindex: 7 },
    });
  });

  it("goes by the best lane that has come up, and needs the devices of lanes alone that somebody uses", () => {
    const up = new Set<string>();
    const tracker = new DeltaTracker<EncryptionEntry>();
    const desired = new DesiredEncryption(local, OWN, tracker, ({ key }) => up.has(key));
    const lane = () => {
      const route = tracker.entries.get("route 172.30.0.2/32");
      return route?.kind === "route" && !route.nowhere ? route.lane : undefined;
    };
    desired.change([["node2", peer(2, { wireguard: { key: "key2", port: 51_871, slot: 0 } })]]);
    assert.deepEqual([desired.lanes, lane(), desired.look()], [[0], 0, false]);
    desired.change([["node2", peer(2, { wireguard: next })]]);
    assert.deepEqual([desired.lanes, lane(), desired.look()], [[0, 1], 0, false]);
    up.add("next2");
    assert.deepEqual([desired.look(), lane(), desired.look()], [true, 1, false]);
    desired.change([["node2", peer(2, { wireguard: { key: "next2", port: 51_873, slot: 1 } })]]);
    assert.deepEqual([desired.lanes, lane()], [[0, 1], 1]);
    assert.ok(!tracker.entries.has("back 172.30.0.2/32") && !tracker.entries.has("peer skylane-wg key2"));
    desired.change([["node2", undefined]]);
    assert.deepEqual(desired.lanes, [0]);
    desired.setLocal(local, { slot: 1, key: "mine" });
    assert.deepEqual(desired.lanes, [2]);
  });

  it("is the same whichever way it has come about", () => {
    const node = fc.integer({ min: 2, max: 5 });
    const step = fc.record({ node, gone: fc.boolean(), key: fc.integer({ min: 1, max: 9 }), strict: fc.boolean() });
    fc.assert(
      fc.property(fc.array(step), (steps) => {
        const tracker = new DeltaTracker<EncryptionEntry>();
        const desired = new DesiredEncryption(local, OWN, tracker);
        const now = new Map<string, Peer>();
        let part: typeof local | typeof strict = local;
        for (const { node: number, gone, key, strict: isStrict } of steps) {
          const next = peer(number, { wireguard: { key: `key${number}.${key}`, port: 51_871 } });
          if (gone) now.delete(next.node);
          else now.set(next.node, next);
          desired.change([[next.node, gone ? undefined : next]]);
          part = isStrict ? strict : local;
          desired.setLocal(part, OWN);
        }
        const all = [...entriesOfLocal(part), ...[...now.values()].flatMap((one) => entriesOfPeer(part, one, OWN))];
        assert.deepEqual([...tracker.entries.keys()].sort(), words(all));
      }),
    );
  });
});

describe("the plan of encryption", () => {
  it("sees what somebody has changed of the way back", () => {
    const back: EncryptionEntry = { kind: "back", dst: "172.30.0.2/32", lanes: 0b11 };
    const many = { ...on, devices: new Map<Lane, number>([...on.devices, [1, 8]]) };
    const there = encryptionOperations.applied(back, many);
    assert.ok(there.kind === "back" && encryptionOperations.isRight(back, there, many));
    for (const change of [{ hops: [7] }, { hops: [8, 7] }, { type: 7 }, { protocol: 4 }, { gateway: "172.30.0.9" }])
      assert.equal(
        encryptionOperations.isRight(back, { kind: "back", route: { ...there.route, ...change } }, many),
        false,
      );
    assert.equal(encryptionOperations.remove(there, many)?.op, "del");
  });

  const entries = new Map(
    [...entriesOfLocal(strict), ...entriesOfPeer(strict, peer(2), OWN)].map((entry) => [keyOfEntry(entry), entry]),
  );
  const right = [...entries.values()].map((entry) => encryptionOperations.applied(entry, on));
  const plan = (actual: readonly EncryptionActual[]) =>
    planAll({ entries }, actual, encryptionOperations, on).operations.map(
      (operation) => `${operation.op} ${operation.kind}`,
    );

  it("is empty where all is right", () => assert.deepEqual(plan(right), []));

  it("puts peers before what leads to them, and rules last", () =>
    assert.deepEqual(plan([]), [
      "put wireguardPeer",
      "replace route",
      "replace route",
      "replace route",
      "add rule",
      "add rule",
      "add rule",
    ]));

  it("removes what nobody wants: strangers, and rules of ours", () =>
    assert.deepEqual(
      plan([
        ...right,
        { kind: "rule", rule: { family: 6, priority: 830, table: 51_871, ipProto: 17, dport: 9, protocol: 83 } },
        { kind: "peer", lane: 0, peer: { publicKey: "stranger", allowedIps: [], rxBytes: 0, txBytes: 0 } },
        { kind: "route", route: { family: 4, dst: "10.0.0.0/8", protocol: 83, table: 51_871, ifindex: 7 } },
        { kind: "route", route: { family: 4, dst: "10.1.0.0/16", protocol: 4, table: 51_871, ifindex: 7 } },
      ]),
      ["del rule", "del route", "remove wireguardPeer"],
    ));

  it("sees what somebody has changed", () => {
    const changed = (kind: EncryptionActual["kind"], change: (there: EncryptionActual) => void): string[] =>
      plan(
        structuredClone(right).map((there) => {
          if (there.kind === kind) change(there);
          return there;
        }),
      );
    const ofPeer = (change: object) => changed("peer", (there) => "peer" in there && Object.assign(there.peer, change));
    for (const change of [
      { endpoint: { ip: "172.30.0.9", port: 51_871 } },
      { endpoint: { ip: "172.30.0.2", port: 1 } },
      { allowedIps: [] },
      { allowedIps: ["172.30.0.2/32", "0.0.0.0/0"] },
      { preshared: true },
    ])
      assert.deepEqual(ofPeer(change), ["put wireguardPeer"], JSON.stringify(change));
    for (const change of [
      { fwmark: 1 },
      { priority: 828 },
      { protocol: 3 },
      { invert: true },
      { action: 6 },
      { src: "10.0.0.0/8" },
    ])
      assert.deepEqual(
        changed("rule", (there) => "rule" in there && Object.assign(there.rule, change)),
        Array.from({ length: 3 }, () => ["del rule", "add rule"]).flat(),
        JSON.stringify(change),
      );
    const routes = changed(
      "route",
      (there) => "route" in there && there.route.type === undefined && Object.assign(there.route, { ifindex: 2 }),
    );
    assert.deepEqual(routes, ["replace route"]);
  });
});
