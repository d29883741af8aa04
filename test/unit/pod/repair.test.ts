import assert from "node:assert/strict";
import type { Address, Operation, Route } from "../../../src/netlink/index.ts";
import { type AttachedPod, hostEndRepairs } from "../../../src/dataplane/pod-link/index.ts";

const pod = { containerId: "c", ifname: "eth0", addresses: ["10.244.1.2", "fd00:1::2"] };
const addresses: Address[] = [
  { ifindex: 7, ip: "169.254.1.1", prefix: 32 },
  { ifindex: 7, ip: "fe80::1", prefix: 64 },
];
const routes: Route[] = [
  { family: 4, dst: "10.244.1.2/32", ifindex: 7 },
  { family: 6, dst: "fd00:1::2/128", ifindex: 7 },
];
const end = (one: AttachedPod, up = true) => [{ link: { index: 7, up, mtu: 1450 }, pod: one }];
const words = (operations: Operation[]) => operations.map(({ op, kind }) => `${op} ${kind}`);

describe("repairing a pod's host end", () => {
  it("leaves one alone that is as it was made", () => {
    assert.deepEqual(hostEndRepairs(end(pod), { addresses, routes }), { missing: [], different: [] });
  });

  it("brings it up first, since routes need a link that is up", () => {
    const operations = hostEndRepairs(end(pod, false), { addresses: [], routes: [] }).missing;
    assert.deepEqual(words(operations), [
      "set link",
      "replace address",
      "replace address",
      "replace route",
      "replace route",
    ]);
  });

  it("takes another device's entries for no entries of this one", () => {
    const elsewhere = {
      addresses: addresses.map((address) => ({ ...address, ifindex: 8 })),
      routes: routes.map((route) => ({ ...route, ifindex: 8 })),
    };
    assert.equal(hostEndRepairs(end(pod), elsewhere).missing.length, 4);
  });

  it("leaves the routes alone that somebody else keeps", () => {
    const kept = { ...pod, kept: new Set(["10.244.1.2"]) };
    const operations = hostEndRepairs(end(kept), { addresses: [], routes: [] }).missing;
    assert.deepEqual(words(operations), ["replace address", "replace address", "replace route"]);
  });

  it("tells routes that name another source than the host has now from those that are not there", () => {
    const [v4] = routes as [Route];
    const actual = { addresses, routes: [{ ...v4, prefSrc: "10.244.1.0" }] };
    const { missing, different } = hostEndRepairs(end(pod), actual, { 4: "10.244.9.0" });
    assert.deepEqual([words(missing), words(different)], [["replace route"], ["replace route"]]);
    assert.deepEqual(
      different.map((one) => one.kind === "route" && one.route.prefSrc),
      ["10.244.9.0"],
    );
    const right = { addresses, routes: routes.map((route) => ({ ...route, prefSrc: "10.244.9.0" })) };
    assert.deepEqual(hostEndRepairs(end(pod), right), { missing: [], different: [] });
  });

  it("makes only what the pod's families need", () => {
    const v4 = { ...pod, addresses: ["10.244.1.2"] };
    assert.deepEqual(words(hostEndRepairs(end(v4), { addresses, routes: [] }).missing), ["replace route"]);
  });
});
