import assert from "node:assert/strict";
import fc from "fast-check";
import type { Link, NetlinkEvent } from "../../../src/netlink/index.ts";
import { desiredState, plan, type ActualState } from "../../../src/dataplane/vxlan/index.ts";
import { doubtOf } from "../../../src/dataplane/vxlan/drift.ts";
import { Desired } from "../../../src/dataplane/vxlan/desired/desired.ts";
import { keysOf } from "../../../src/dataplane/vxlan/desired/entries.ts";
import { repairsIn } from "../../../src/dataplane/vxlan/plan/repairs.ts";
import { Backoff } from "../../../src/reconcile/backoff.ts";
import { assumedActual } from "../../../src/dataplane/vxlan/plan/actual.ts";
import { ModelKernel } from "./model-kernel.ts";
import { anyPeers, local, ownDevice, peer } from "./support.ts";

const IFINDEX = 7;
const device = { ifindex: IFINDEX, vni: local.vni, port: local.port };
const empty: ActualState = { ...device, addresses: [], fdb: [], neighbours: [], routes: [] };
const desired = desiredState(local, [peer(1)]);

function kernelOf(state: typeof desired): ModelKernel {
  const kernel = new ModelKernel(empty);
  for (const operation of plan(state, empty)) kernel.apply(operation);
  return kernel;
}

function eventsOf(kernel: ModelKernel, event: "new" | "del"): NetlinkEvent[] {
  const { addresses, fdb, neighbours, routes } = kernel.dump();
  return [
    ...addresses.map((address) => ({ event, kind: "address" as const, address })),
    ...fdb.map((entry) => ({ event, kind: "fdb" as const, fdb: entry })),
    ...neighbours.map((neighbour) => ({ event, kind: "neighbour" as const, neighbour })),
    ...routes.map((route) => ({ event, kind: "route" as const, route })),
  ];
}

describe("a notification", () => {
  it("that shows what is desired is no news: the echo of our own work", () => {
    fc.assert(
      fc.property(anyPeers, (peers) => {
        const state = desiredState(local, peers);
        for (const event of eventsOf(kernelOf(state), "new")) assert.equal(doubtOf(state, IFINDEX, event), undefined);
      }),
      { numRuns: 50 },
    );
  });

  it("that one of our entries went, or is another now, is a doubt, for every kind", () => {
    const gone = eventsOf(kernelOf(desired), "del");
    assert.deepEqual(
      gone.map((event) => doubtOf(desired, IFINDEX, event)?.kind),
      ["address", "address", "fdb", "neighbour", "neighbour", "route", "route"],
    );
    for (const event of eventsOf(kernelOf(desired), "new")) {
      const other =
        event.kind === "address"
          ? { ...event, address: { ...event.address, permanent: undefined } }
          : event.kind === "fdb"
            ? { ...event, fdb: { ...event.fdb, dst: "172.30.9.9" } }
            : event.kind === "neighbour"
              ? { ...event, neighbour: { ...event.neighbour, state: 2 } }
              : event.kind === "route"
                ? { ...event, route: { ...event.route, ifindex: 2 } }
                : event;
      assert.ok(doubtOf(desired, IFINDEX, other), JSON.stringify(other));
    }
  });

  it("about other devices, other tables and entries that are not ours to judge is no news", () => {
    const events: NetlinkEvent[] = [
      { event: "del", kind: "route", route: { family: 4, dst: "10.244.1.0/24", ifindex: 3, table: 100 } },
      { event: "new", kind: "route", route: { family: 4, dst: "10.244.0.7/32", ifindex: 3, protocol: 83 } },
      { event: "new", kind: "route", route: { family: 4, dst: "10.9.0.0/16", ifindex: IFINDEX, protocol: 4 } },
      { event: "new", kind: "route", route: { family: 4, dst: "10.244.1.0/24", ifindex: 3, metric: 50 } },
      { event: "new", kind: "neighbour", neighbour: { ifindex: 3, ip: "10.244.1.0", mac: "02:00:00:00:00:09" } },
      { event: "new", kind: "neighbour", neighbour: { ifindex: IFINDEX, ip: "ff02::16", state: 0x40 } },
      { event: "new", kind: "address", address: { ifindex: 3, ip: "10.9.9.9", prefix: 24 } },
      { event: "del", kind: "fdb", fdb: { ifindex: IFINDEX, mac: "02:00:00:00:00:77", dst: "172.30.0.9" } },
    ];
    for (const event of events) assert.equal(doubtOf(desired, IFINDEX, event), undefined, JSON.stringify(event));
  });

  it("about something of nobody's on our device is a doubt", () => {
    const events: NetlinkEvent[] = [
      { event: "new", kind: "route", route: { family: 4, dst: "10.77.0.0/24", ifindex: IFINDEX, protocol: 83 } },
      { event: "new", kind: "neighbour", neighbour: { ifindex: IFINDEX, ip: "10.77.0.0", state: 0x80 } },
      { event: "new", kind: "address", address: { ifindex: IFINDEX, ip: "10.9.9.9", prefix: 24 } },
      { event: "new", kind: "fdb", fdb: { ifindex: IFINDEX, mac: "00:00:00:00:00:00", dst: "172.30.0.9" } },
    ];
    for (const event of events) assert.ok(doubtOf(desired, IFINDEX, event), JSON.stringify(event));
  });

  it("about the device is a doubt when it went or is another, and about others only while they may be in the way", () => {
    const link = { ...ownDevice, index: IFINDEX };
    const of = (event: "new" | "del", other: Partial<Link> = {}, ifindex: number | undefined = IFINDEX) =>
      doubtOf(desired, ifindex, { event, kind: "link", link: { ...link, ...other } })?.kind;
    assert.equal(of("new"), undefined);
    assert.equal(of("del"), "device");
    for (const other of [
      { up: false },
      { mtu: 9000 },
      { mac: "02:00:00:00:00:55" },
      { name: "renamed" },
      { alias: "x" },
      { group: 0 },
    ]) {
      assert.equal(of("new", other), "device");
    }
    assert.equal(of("del", { index: 3, name: "flannel.4096" }), undefined);
    assert.equal(
      doubtOf(desired, undefined, { event: "del", kind: "link", link: { ...link, index: 3, name: "x" } })?.kind,
      "device",
    );
    assert.equal(of("new", { index: 12 }), "device");
  });
});

describe("what is assumed after a plan was applied", () => {
  it("is what a dump would show, without the entries that failed", () => {
    fc.assert(
      fc.property(anyPeers, (peers) => {
        const state = desiredState(local, peers);
        assert.deepEqual(plan(state, assumedActual(state, device, new Set())), []);
        const [first] = keysOf(state);
        assert.equal(plan(state, assumedActual(state, device, new Set([first as string]))).length, 1);
      }),
      { numRuns: 50 },
    );
  });
});

describe("a repair", () => {
  it("restores what was in place and is still wanted, or removes what nobody wanted; nothing else counts", () => {
    const wanted = new Desired(local);
    wanted.change([1, 2].map((n) => [`node${n}`, peer(n)]));
    wanted.begin();
    wanted.settle();
    const kernel = kernelOf(wanted.state);
    wanted.change([
      ["node2", { ...peer(2), underlayIp: "172.30.9.9" }],
      ["node3", peer(3)],
    ]);
    kernel.apply({ op: "del", kind: "route", route: { ...kernel.routes[0], family: 4, dst: "10.244.1.0/24" } });
    kernel.apply({ op: "add", kind: "fdb", fdb: { ifindex: IFINDEX, mac: "02:00:00:00:00:77", dst: "172.30.0.9" } });
    const operations = plan(wanted.state, kernel.dump());
    const changed = wanted.begin();
    const repairs = repairsIn(operations, changed, new Set());
    assert.deepEqual([...repairs.keys()].sort(), ["fdb 02:00:00:00:00:77", "route 10.244.1.0/24"]);
    assert.equal(repairsIn(operations, undefined, new Set()).size, 0);
    assert.equal(repairsIn(operations, changed, new Set(["route 10.244.1.0/24"])).size, 1);
  });
});

describe("the backoff", () => {
  it("doubles an entry's pause up to its ceiling, one entry at a time, and starts anew after a success", () => {
    let now = 0;
    const backoff = new Backoff({ baseMs: 100, maxMs: 1_000, now: () => now });
    assert.equal(backoff.failed("a", "no"), true);
    assert.equal(backoff.failed("b", "no"), true);
    const pauses: (number | undefined)[] = [];
    for (let i = 0; i < 6; i++) {
      backoff.clear("b");
      pauses.push(backoff.nextIn());
      assert.equal(backoff.due("a"), false);
      now += backoff.nextIn() ?? 0;
      assert.equal(backoff.due("a"), true);
      assert.equal(backoff.failed("a", "no"), false);
    }
    assert.deepEqual(pauses, [100, 200, 400, 800, 1_000, 1_000]);
    assert.equal(backoff.due("b"), true);
    assert.equal(backoff.failed("a", "something else"), true);
    assert.deepEqual(backoff.errors(), new Map([["a", "something else"]]));
    backoff.clear("a");
    assert.equal(backoff.nextIn(), undefined);
    backoff.failed("a", "no");
    assert.equal(backoff.nextIn(), 100);
    backoff.keep(() => false);
    assert.equal(backoff.size, 0);
  });
});
