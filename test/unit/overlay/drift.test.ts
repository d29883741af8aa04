import assert from "node:assert/strict";
import fc from "fast-check";
import type { Link, NetlinkEvent } from "../../../src/netlink/index.ts";
import { allOf, type Desired, doubtOf } from "../../../src/dataplane/vxlan/index.ts";
import { kindOf } from "../../../src/reconcile/index.ts";
import { ModelKernel } from "./model-kernel.ts";
import { anyPeers, applied, desiredState, device, local, ownDevice, peer, plan } from "./support.ts";

const { ifindex: IFINDEX } = device;
const desired = desiredState(local, [peer(1)]);

function kernelOf(state: Desired): ModelKernel {
  const kernel = new ModelKernel(device);
  for (const operation of plan(state)) kernel.apply(operation);
  return kernel;
}

const eventsOf = (kernel: ModelKernel, event: "new" | "del"): NetlinkEvent[] =>
  Array.from(allOf(kernel.dump()), (there) => ({ event, ...there }));

describe("a notification", () => {
  it("that shows what is desired is no news: the echo of our own work", () => {
    fc.assert(
      fc.property(anyPeers, (peers) => {
        const state = desiredState(local, peers);
        for (const event of eventsOf(kernelOf(state), "new")) assert.equal(doubtOf(state, device, event), undefined);
      }),
      { numRuns: 50 },
    );
  });

  it("that one of our entries went, or is another now, is a doubt, for every kind", () => {
    const gone = eventsOf(kernelOf(desired), "del");
    assert.deepEqual(
      gone.map((event) => kindOf(doubtOf(desired, device, event) ?? "")),
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
      assert.ok(doubtOf(desired, device, other), JSON.stringify(other));
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
    for (const event of events) assert.equal(doubtOf(desired, device, event), undefined, JSON.stringify(event));
  });

  it("about something of nobody's on our device is a doubt", () => {
    const events: NetlinkEvent[] = [
      { event: "new", kind: "route", route: { family: 4, dst: "10.77.0.0/24", ifindex: IFINDEX, protocol: 83 } },
      { event: "new", kind: "neighbour", neighbour: { ifindex: IFINDEX, ip: "10.77.0.0", state: 0x80 } },
      { event: "new", kind: "address", address: { ifindex: IFINDEX, ip: "10.9.9.9", prefix: 24 } },
      { event: "new", kind: "fdb", fdb: { ifindex: IFINDEX, mac: "00:00:00:00:00:00", dst: "172.30.0.9" } },
    ];
    for (const event of events) assert.ok(doubtOf(desired, device, event), JSON.stringify(event));
  });

  it("about the device is a doubt when it went or is another, and about others only while they may be in the way", () => {
    const link = { ...ownDevice, index: IFINDEX };
    const of = (event: "new" | "del", other: Partial<Link> = {}) =>
      doubtOf(desired, device, { event, kind: "link", link: { ...link, ...other } });
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
      doubtOf(desired, undefined, { event: "del", kind: "link", link: { ...link, index: 3, name: "x" } }),
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
        assert.deepEqual(plan(state, applied(state.entries)), []);
        const [first = ""] = state.entries.keys();
        assert.equal(plan(state, applied(state.entries, new Set([first]))).length, 1);
      }),
      { numRuns: 50 },
    );
  });
});
