import assert from "node:assert/strict";
import type { Address, Operation, Route } from "../../../src/netlink/index.ts";
import { hostEndRepairs } from "../../../src/dataplane/pod-link/index.ts";

const pod = { containerId: "c", ifname: "eth0", addresses: ["10.244.1.2", "fd00:1::2"] };
const addresses: Address[] = [
  { ifindex: 7, ip: "169.254.1.1", prefix: 32 },
  { ifindex: 7, ip: "fe80::1", prefix: 64 },
];
const routes: Route[] = [
  { family: 4, dst: "10.244.1.2/32", ifindex: 7 },
  { family: 6, dst: "fd00:1::2/128", ifindex: 7 },
];
const words = (operations: Operation[]) => operations.map(({ op, kind }) => `${op} ${kind}`);

describe("repairing a pod's host end", () => {
  it("leaves one alone that is as it was made", () => {
    assert.deepEqual(hostEndRepairs({ index: 7, up: true }, pod, { addresses, routes }), []);
  });

  it("brings it up first, since routes need a link that is up", () => {
    const operations = hostEndRepairs({ index: 7, up: false }, pod, { addresses: [], routes: [] });
    assert.deepEqual(words(operations), [
      "set link",
      "replace address",
      "replace route",
      "replace address",
      "replace route",
    ]);
  });

  it("takes another device's entries for no entries of this one", () => {
    const elsewhere = {
      addresses: addresses.map((address) => ({ ...address, ifindex: 8 })),
      routes: routes.map((route) => ({ ...route, ifindex: 8 })),
    };
    assert.equal(hostEndRepairs({ index: 7, up: true }, pod, elsewhere).length, 4);
  });

  it("leaves the routes alone of addresses that another node has", () => {
    const away = { ...pod, away: new Set(["10.244.1.2"]) };
    const operations = hostEndRepairs({ index: 7, up: true }, away, { addresses: [], routes: [] });
    assert.deepEqual(words(operations), ["replace address", "replace address", "replace route"]);
  });

  it("makes only what the pod's families need", () => {
    const v4 = { ...pod, addresses: ["10.244.1.2"] };
    assert.deepEqual(words(hostEndRepairs({ index: 7, up: true }, v4, { addresses, routes: [] })), ["replace route"]);
  });
});
