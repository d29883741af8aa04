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
import type { Peer } from "../../../src/peers/index.ts";
import { DeltaTracker, planAll } from "../../../src/reconcile/index.ts";

const OWN = "own=";
const local = { underlayIp: "172.30.0.1", port: 4789, encryption: "wireguard" as const };
const strict = { ...local, encryption: "strict" as const };
const on = { ifindex: 7, family: 4 as const };
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
    assert.deepEqual(words(entriesOfLocal(local)), ["rule 4789", "rule 4789 back"]);
    assert.deepEqual(words(entriesOfPeer(local, peer(2), OWN)), [
      "peer key2",
      "route 172.30.0.2/32",
      "route 172.30.0.2/32 nowhere",
    ]);
  });

  it("is nothing for a node without a key, or with this node's own", () => {
    assert.deepEqual(entriesOfPeer(local, plain, OWN), []);
    assert.deepEqual(entriesOfPeer(local, peer(2, { wireguard: { key: OWN, port: 1 } }), OWN), []);
  });

  it("leads everything else nowhere where it is strict, to other ports of peers, too", () => {
    assert.deepEqual(words(entriesOfLocal(strict)), ["route default nowhere", "rule 4789", "rule 4789 back"]);
    assert.deepEqual(words(entriesOfPeer(strict, { ...plain, port: 8472 }, OWN)), ["rule 8472 to 172.30.0.3/32"]);
    assert.deepEqual(entriesOfPeer(local, { ...plain, port: 8472 }, OWN), []);
    assert.ok(words(entriesOfPeer(local, peer(2, { port: 8472 }), OWN)).includes("rule 8472 to 172.30.0.2/32"));
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
    ]));

  it("removes what nobody wants: strangers, and rules of ours", () =>
    assert.deepEqual(
      plan([
        ...right,
        { kind: "rule", rule: { family: 6, priority: 830, table: 51_871, ipProto: 17, dport: 9, protocol: 83 } },
        { kind: "peer", peer: { publicKey: "stranger", allowedIps: [], rxBytes: 0, txBytes: 0 } },
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
      { priority: 829 },
      { protocol: 3 },
      { invert: true },
      { action: 6 },
      { src: "10.0.0.0/8" },
    ])
      assert.deepEqual(
        changed("rule", (there) => "rule" in there && Object.assign(there.rule, change)),
        ["del rule", "add rule", "del rule", "add rule"],
        JSON.stringify(change),
      );
    const routes = changed(
      "route",
      (there) => "route" in there && there.route.type === undefined && Object.assign(there.route, { ifindex: 2 }),
    );
    assert.deepEqual(routes, ["replace route"]);
  });
});
