/** What the kernel should hold of a bridged network, and how it comes to hold it. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { readBridge } from "../../../src/dataplane/bridge/actual.ts";
import {
  BridgeDesired,
  bridgeOperations,
  type BridgedNetwork,
  type BridgeEntry,
  type Devices,
  EVERYBODY,
  keyOf,
  type LocalPort,
  type RemoteEndpoint,
} from "../../../src/dataplane/bridge/index.ts";
import type { Operation } from "../../../src/netlink/index.ts";
import type { Peer } from "../../../src/peers/index.ts";
import { planAll, planChanges } from "../../../src/reconcile/index.ts";

const local: BridgedNetwork = {
  network: "blue",
  node: "self",
  vni: 7,
  device: "sky.7",
  port: 4789,
  mtu: 1450,
  mac: "02:00:00:00:00:01",
  underlayIp: "172.30.0.1",
  broadcast: "Replicate",
};
const devices: Devices = {
  bridge: 2,
  vxlan: 3,
  vni: 7,
  port: 4789,
  ports: new Map([
    ["sky.7", 3],
    ["p1", 11],
    ["p2", 12],
  ]),
};
const NAMES = new Map([...devices.ports].map(([name, index]) => [index, name]));

const mac = (n: number): string => `02:00:00:00:01:0${n}`;
const peer = (n: number, more: Partial<Peer> = {}): Peer => ({
  node: `n${n}`,
  mac: `02:00:00:00:00:1${n}`,
  underlayIp: `172.30.0.1${n}`,
  podCidrs: [],
  ...more,
});
/** The addresses of an endpoint follow from its MAC, so that endpoints never conflict but by their MACs. */
const addressesOf = (n: number) => ({ mac: mac(n), ips: [`10.7.0.${n}`, `fd07::${n}`] });

type Change =
  | { peer: number; there: boolean; vni: boolean }
  | { endpoint: number; node: number | undefined }
  | { port: number; endpoints: number[] | undefined };
const anyChange: fc.Arbitrary<Change> = fc.oneof(
  fc.record({ peer: fc.integer({ min: 1, max: 3 }), there: fc.boolean(), vni: fc.boolean() }),
  fc.record({
    endpoint: fc.integer({ min: 1, max: 6 }),
    node: fc.option(fc.integer({ min: 1, max: 3 }), { nil: undefined }),
  }),
  // Two ports never have the same endpoint: 1 to 4 are the first one's, 5 to 8 the second one's.
  fc.record({
    port: fc.integer({ min: 1, max: 2 }),
    endpoints: fc.option(fc.uniqueArray(fc.integer({ min: 1, max: 4 })), { nil: undefined }),
  }),
);

const portOf = (n: number, endpoints: number[] | undefined): LocalPort | undefined =>
  endpoints && { ifname: `p${n}`, endpoints: endpoints.map((e) => addressesOf(e + (n - 1) * 4)) };

function apply(desired: BridgeDesired, change: Change): void {
  if ("peer" in change) {
    const { peer: n, there, vni } = change;
    desired.changePeers([[`n${n}`, there ? peer(n, vni ? { vni: 9 } : {}) : undefined]]);
  } else if ("endpoint" in change) {
    const { endpoint, node } = change;
    const remote: RemoteEndpoint | undefined =
      node === undefined ? undefined : { ...addressesOf(endpoint), node: `n${node}` };
    desired.changeEndpoints([[mac(endpoint), remote]]);
  } else desired.changePorts([[`p${change.port}`, portOf(change.port, change.endpoints)]]);
}

const sorted = (entries: ReadonlyMap<string, BridgeEntry>) =>
  [...entries].sort(([x], [y]) => (x < y ? -1 : 1)).map(([, entry]) => entry);

/** The kernel as entries: what an operation makes of them. */
function execute(kernel: Map<string, BridgeEntry>, operation: Operation): void {
  const put = (entry: BridgeEntry, gone: boolean) => {
    if (gone) assert.ok(kernel.delete(keyOf(entry)), `${keyOf(entry)} is removed and is not there`);
    else kernel.set(keyOf(entry), entry);
  };
  const gone = operation.op === "del";
  switch (operation.kind) {
    case "fdb": {
      const { ifindex, mac: m, dst, vni } = operation.fdb;
      assert.equal(ifindex, devices.vxlan);
      assert.equal(operation.op === "append", m === EVERYBODY && !gone);
      return put({ kind: "fdb", mac: m, dst, ...(vni !== undefined && vni !== devices.vni && { vni }) }, gone);
    }
    case "bridgeFdb":
      return put(
        { kind: "bridgeFdb", mac: operation.bridgeFdb.mac, ifname: NAMES.get(operation.bridgeFdb.ifindex) ?? "?" },
        gone,
      );
    case "neighbour": {
      assert.equal(operation.neighbour.ifindex, devices.bridge);
      return put({ kind: "neighbour", ip: operation.neighbour.ip, mac: operation.neighbour.mac ?? "" }, gone);
    }
    default:
      throw new Error(`a plan of entries has no ${operation.kind}`);
  }
}

const planOf = (desired: BridgeDesired, kernel: ReadonlyMap<string, BridgeEntry>) =>
  planAll(desired.tracker, kernel.values(), bridgeOperations, devices);

const withoutPorts = (entries: ReadonlyMap<string, BridgeEntry>) =>
  new Map([...entries].filter(([, { kind }]) => kind !== "port"));

describe("the entries of a bridged network", () => {
  it("depend on what is, not on how it came to be", () => {
    fc.assert(
      fc.property(fc.array(anyChange, { maxLength: 30 }), (changes) => {
        const grown = new BridgeDesired(local);
        for (const change of changes) apply(grown, change);
        const last = new Map<string, Change>();
        for (const change of changes) last.set(JSON.stringify(Object.entries(change)[0]), change);
        for (const order of [[...last.values()], [...last.values()].toReversed()]) {
          const fresh = new BridgeDesired(local);
          for (const change of order) apply(fresh, change);
          assert.deepEqual(sorted(fresh.entries), sorted(grown.entries));
        }
      }),
    );
  });

  it("are planned from the changed ones alone as from all of them, and the plan makes them so", () => {
    fc.assert(
      fc.property(fc.array(fc.array(anyChange, { maxLength: 4 }), { maxLength: 8 }), (rounds) => {
        const desired = new BridgeDesired(local);
        const kernel = new Map<string, BridgeEntry>();
        for (const round of rounds) {
          for (const change of round) apply(desired, change);
          const whole = planOf(desired, kernel);
          const changed = desired.tracker.begin();
          const few = planChanges(desired.tracker, changed, new Set(), bridgeOperations, devices);
          const texts = ({ keys, operations }: typeof few) =>
            keys.map((key, index) => JSON.stringify([key, operations[index]])).sort();
          assert.deepEqual(texts(few), texts(whole));
          for (const operation of few.operations) execute(kernel, operation);
          desired.tracker.settle();
          assert.deepEqual(sorted(kernel), sorted(withoutPorts(desired.entries)));
        }
      }),
    );
  });

  it("never answer for an address to which there is no way, at any step of a plan", () => {
    fc.assert(
      fc.property(fc.array(anyChange, { maxLength: 20 }), fc.array(anyChange, { maxLength: 6 }), (before, after) => {
        const desired = new BridgeDesired(local);
        const kernel = new Map<string, BridgeEntry>();
        for (const changes of [before, after]) {
          for (const change of changes) apply(desired, change);
          for (const operation of planOf(desired, kernel).operations) {
            execute(kernel, operation);
            for (const entry of kernel.values()) {
              if (entry.kind !== "neighbour") continue;
              const place = kernel.get(`bridgeFdb ${entry.mac}`);
              assert.ok(place?.kind === "bridgeFdb", `${entry.ip} is answered for, and ${entry.mac} is nowhere`);
              if (place.ifname === local.device)
                assert.ok(kernel.has(`fdb ${entry.mac}`), `${entry.mac} leads to no node`);
            }
          }
        }
      }),
    );
  });

  it("prefer what is here to what other nodes say", () => {
    const desired = new BridgeDesired(local);
    desired.changePeers([["n1", peer(1)]]);
    desired.changeEndpoints([[mac(1), { ...addressesOf(1), node: "n1" }]]);
    desired.changePorts([["p1", portOf(1, [1])]]);
    assert.deepEqual(desired.entries.get(`bridgeFdb ${mac(1)}`), { kind: "bridgeFdb", mac: mac(1), ifname: "p1" });
    assert.equal(desired.entries.has(`fdb ${mac(1)}`), false);
    desired.changePorts([["p1", portOf(1, [])]]);
    assert.deepEqual(desired.entries.get(`bridgeFdb ${mac(1)}`), { kind: "bridgeFdb", mac: mac(1), ifname: "sky.7" });
  });

  it("copy what goes to all to every peer, or to none", () => {
    const desired = new BridgeDesired(local);
    desired.changePeers([1, 2].map((n) => [`n${n}`, peer(n)]));
    const copies = () => [...desired.entries.keys()].filter((key) => key.startsWith(`fdb ${EVERYBODY}`)).sort();
    assert.deepEqual(copies(), [`fdb ${EVERYBODY} 172.30.0.11`, `fdb ${EVERYBODY} 172.30.0.12`]);
    desired.setLocal({ ...local, broadcast: "Drop" });
    assert.deepEqual(copies(), []);
  });

  it("are not the copies of them that a kernel makes for VLANs of their ports", async () => {
    const desired = new BridgeDesired(local);
    desired.changePorts([["p1", portOf(1, [1])]]);
    const mine = { ifindex: 11, mac: mac(1), master: 2, state: 0x40, external: true };
    const { entries } = await readBridge(
      { fdb: () => [], bridgeFdb: () => [mine, { ...mine, vlan: 1 }], neighbours: () => [] },
      devices,
    );
    const port = desired.entries.get("port p1");
    const { operations } = planAll(desired.tracker, [...entries, ...(port ? [port] : [])], bridgeOperations, devices);
    assert.deepEqual(
      operations.filter(({ kind }) => kind === "bridgeFdb"),
      [],
    );
  });

  it("wait for their port", () => {
    const desired = new BridgeDesired(local);
    desired.changePorts([["p9", { ifname: "p9", endpoints: [{ mac: mac(1), ips: [] }] }]]);
    const { operations, waiting } = planOf(desired, new Map());
    assert.deepEqual({ operations, waiting }, { operations: [], waiting: ["port p9", `bridgeFdb ${mac(1)}`] });
  });
});
