/** Objects on interfaces of which only some are ours. */
import assert from "node:assert/strict";
import { type KernelObject, planObjects } from "../../../src/dataplane/kernel/index.ts";
import type { Operation } from "../../../src/netlink/index.ts";

const link = (up: boolean, mtu: number): KernelObject => ({ kind: "link", link: { index: 7, up, mtu } });
const address = (ip: string, ifindex = 7): KernelObject => ({
  kind: "address",
  address: { ifindex, ip, prefix: ip.includes(":") ? 128 : 32 },
});
const neighbour = (ip: string, mac: string, state?: number): KernelObject => ({
  kind: "neighbour",
  neighbour: { ifindex: 7, ip, mac, ...(state !== undefined && { state }) },
});
const route = (family: 4 | 6, gateway: string, more: { ifindex?: number; protocol?: number } = {}): KernelObject => ({
  kind: "route",
  route: { family, dst: "default", gateway, ifindex: 7, protocol: 83, ...more },
});
const MAC = "02:00:00:00:00:07";
const wanted = [
  route(4, "169.254.0.1"),
  route(6, "fe80::1"),
  neighbour("169.254.0.1", MAC),
  address("169.254.0.2"),
  link(true, 1450),
];
const words = (operations: Operation[]): string[] => operations.map(({ op, kind }) => `${op} ${kind}`);
const there = (objects: KernelObject[]): KernelObject[] =>
  objects.map((one) => (one.kind === "neighbour" ? { ...one, neighbour: { ...one.neighbour, state: 0x80 } } : one));

describe("objects on an interface", () => {
  it("are put in the order in which they need each other, and left alone when they are right", () => {
    const { missing, different } = planObjects(wanted, [link(false, 1500)]);
    assert.deepEqual(words(missing), [
      "set link",
      "replace address",
      "replace neighbour",
      "replace route",
      "replace route",
    ]);
    assert.deepEqual(different, []);
    assert.deepEqual(planObjects(wanted, there(wanted)), { missing: [], different: [] });
  });

  it("are told from those that are there and otherwise, and of what is nobody's wish nothing is touched", () => {
    const strange = [address("10.0.0.1"), address("169.254.0.2", 8), route(4, "10.0.0.1", { ifindex: 8 })];
    const others = [link(true, 1450), route(4, "10.9.9.9"), route(6, "fe80::1", { protocol: 4 })];
    const { missing, different } = planObjects(wanted, [...strange, ...others, neighbour("169.254.0.1", MAC, 0x02)]);
    assert.deepEqual(words(missing), ["replace address"]);
    assert.deepEqual(words(different), ["replace neighbour", "replace route", "replace route"]);
  });

  it("of an interface whose MTU nobody has said take any", () => {
    const up: KernelObject = { kind: "link", link: { index: 7, up: true } };
    assert.deepEqual(planObjects([up], [link(true, 9000)]).missing, []);
    assert.deepEqual(planObjects([up], [link(false, 9000)]).missing, [
      { op: "set", kind: "link", link: { index: 7, up: true } },
    ]);
  });
});
