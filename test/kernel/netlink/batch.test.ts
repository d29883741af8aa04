/** Many operations in few system calls: what fails is named, the rest is done. */
import assert from "node:assert/strict";
import { type Neighbour, NetlinkError, type Operation, Rtnl } from "../../../src/netlink/index.ts";
import { testNamespace } from "../support/netns.ts";
import { makeVxlan } from "./support.ts";

const ENTRIES = 2_000;
const mac = (i: number) =>
  `02:00:00:00:${(i >> 8).toString(16).padStart(2, "0")}:${(i & 255).toString(16).padStart(2, "0")}`;
const ip = (i: number) => `10.1.${i >> 8}.${i & 255}`;

describe("batches", () => {
  const ns = testNamespace("batch");
  let rtnl: Rtnl;
  let ifindex: number;
  const neighbour = (i: number): Neighbour => ({ ifindex, ip: ip(i), mac: mac(i) });
  const add = (i: number): Operation => ({ op: "add", kind: "neighbour", neighbour: neighbour(i) });

  before(() => {
    rtnl = Rtnl.open({ netns: ns.path });
    ifindex = makeVxlan(rtnl);
  });
  after(() => rtnl.close());

  it("apply everything but what the kernel refuses, which they name by its place", () => {
    const taken = [0, 1, 127, 128, 999, 1_000, ENTRIES - 1];
    assert.deepEqual(rtnl.executeAll(taken.map(add)), []);
    const operations = Array.from({ length: ENTRIES }, (_, i) => add(i));
    const failures = rtnl.executeAll(operations);
    assert.deepEqual(
      failures.map((failure) => failure.index),
      taken,
    );
    for (const { index, operation, error } of failures) {
      assert.equal(operation, operations[index]);
      assert.equal(error.message, `EEXIST adding neighbour ${ip(index)} lladdr ${mac(index)} dev sky.1: File exists`);
    }
    const there = rtnl.neighbours({ ifindex, family: 4 }).filter((each) => each.state === 0x80);
    assert.deepEqual(new Set(there.map((each) => each.ip)), new Set(operations.map((_, i) => ip(i))));
  });

  it("survive the failure of every entry", () => {
    const failures = rtnl.executeAll(Array.from({ length: ENTRIES }, (_, i) => add(i)));
    assert.deepEqual(
      failures.map((failure) => failure.index),
      Array.from({ length: ENTRIES }, (_, i) => i),
    );
  });

  it("carry each entry's own explanation", () => {
    const link = (name: string, vni: number): Operation => ({
      op: "add",
      kind: "link",
      link: { kind: "vxlan", name, vni, port: 4789 },
    });
    const failures = rtnl.executeAll([link("ok1", 11), link("bad", 1 << 24), link("ok2", 12), add(3)]);
    assert.deepEqual(
      failures.map(({ index, error }) => [index, error.code, error.extack]),
      [
        [1, "ERANGE", "VXLAN ID must be lower than 16777216"],
        [3, "EEXIST", undefined],
      ],
    );
    assert.ok(rtnl.link("ok1") && rtnl.link("ok2"));
  });

  it("keep the order, also around devices that take more than one message", () => {
    const failures = rtnl.executeAll([
      add(ENTRIES),
      { op: "del", kind: "neighbour", neighbour: neighbour(ENTRIES) },
      { op: "add", kind: "link", link: { kind: "bridge", name: "br1", alias: "first" } },
      { op: "add", kind: "link", link: { kind: "bridge", name: "br1", alias: "second" } },
      add(ENTRIES),
      add(ENTRIES),
    ]);
    assert.deepEqual(
      failures.map(({ index, error }) => [index, error.code]),
      [
        [3, "EEXIST"],
        [5, "EEXIST"],
      ],
    );
    assert.equal(rtnl.link("br1")?.alias, "first");
  });

  it("report what cannot be encoded as a failure of that entry", () => {
    const route = { family: 4, ifindex, dst: "10.3.0.0/16" } as const;
    const failures = rtnl.executeAll([
      { op: "add", kind: "route", route: { ...route, dst: "not a prefix" } },
      { op: "add", kind: "route", route },
      { op: "add", kind: "link", link: { kind: "bridge", name: "a\0b" } },
      { op: "del", kind: "route", route },
    ]);
    assert.deepEqual(
      failures.map(({ index, error }) => [index, error.code]),
      [
        [0, "EINVAL"],
        [2, "EINVAL"],
      ],
    );
    assert.match(
      failures[0]?.error.message ?? "",
      /^EINVAL adding route not a prefix dev sky\.1: Invalid argument \(.*CIDR/,
    );
  });

  it("do nothing when there is nothing to do", () => assert.deepEqual(rtnl.executeAll([]), []));

  it("explain a refused device in the kernel's words", () => {
    assert.throws(
      () => rtnl.execute({ op: "add", kind: "link", link: { kind: "vxlan", name: "v", vni: 16_777_216, port: 4789 } }),
      (error: unknown) => {
        assert.ok(error instanceof NetlinkError);
        assert.equal(
          error.message,
          "ERANGE adding vxlan device v (VNI 16777216, port 4789): Numerical result out of range (VXLAN ID must be lower than 16777216)",
        );
        return true;
      },
    );
  });
});
