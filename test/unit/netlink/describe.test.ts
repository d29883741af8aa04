import assert from "node:assert/strict";
import { describeOperation } from "../../../src/netlink/describe.ts";
import { DumpInterrupted, NetlinkError, NetlinkTimeout } from "../../../src/netlink/errors.ts";
import type { Operation } from "../../../src/netlink/types.ts";

const nameOf = (ifindex: number) => (ifindex === 7 ? "sky.4096" : undefined);
const route = { family: 4, dst: "10.244.2.0/24", gateway: "10.244.2.0", onlink: true, ifindex: 7 } as const;

describe("describeOperation", () => {
  const cases: [string, Operation][] = [
    ["adding route 10.244.2.0/24 via 10.244.2.0 dev sky.4096", { op: "add", kind: "route", route }],
    [
      "deleting route blackhole 10.244.0.0/16",
      { op: "del", kind: "route", route: { family: 4, dst: "10.244.0.0/16", type: 6 } },
    ],
    [
      "replacing route default (IPv6) via fe80::1 dev if9 table 100 metric 5",
      {
        op: "replace",
        kind: "route",
        route: { family: 6, dst: "default", gateway: "fe80::1", ifindex: 9, table: 100, metric: 5 },
      },
    ],
    [
      "adding address 10.244.1.0/32 dev sky.4096",
      { op: "add", kind: "address", address: { ifindex: 7, ip: "10.244.1.0", prefix: 32 } },
    ],
    [
      "deleting neighbour fd00::1 lladdr 02:00:00:00:00:01 dev sky.4096",
      { op: "del", kind: "neighbour", neighbour: { ifindex: 7, ip: "fd00::1", mac: "02:00:00:00:00:01" } },
    ],
    [
      "replacing FDB entry 02:00:00:00:00:01 dst 172.30.0.12 dev sky.4096",
      { op: "replace", kind: "fdb", fdb: { ifindex: 7, mac: "02:00:00:00:00:01", dst: "172.30.0.12" } },
    ],
    [
      "adding rule 100: from fd00::/8 to fd01::/16 iif a oif b fwmark 0x10 lookup 1000 (IPv6)",
      {
        op: "add",
        kind: "rule",
        rule: {
          family: 6,
          priority: 100,
          table: 1000,
          src: "fd00::/8",
          dst: "fd01::/16",
          iifname: "a",
          oifname: "b",
          fwmark: 16,
        },
      },
    ],
    [
      "adding vxlan device sky.1 (VNI 1, port 4789, local 172.30.0.11)",
      { op: "add", kind: "link", link: { kind: "vxlan", name: "sky.1", vni: 1, port: 4789, local: "172.30.0.11" } },
    ],
    [
      "adding veth pair eth0 and skyabc",
      { op: "add", kind: "link", link: { kind: "veth", name: "eth0", peer: { name: "skyabc" } } },
    ],
    ["adding bridge br0", { op: "add", kind: "link", link: { kind: "bridge", name: "br0" } }],
    ["changing link sky.4096: up, mtu 1450", { op: "set", kind: "link", link: { index: 7, up: true, mtu: 1450 } }],
    ["changing link if9: down, no master", { op: "set", kind: "link", link: { index: 9, up: false, master: 0 } }],
    ["changing link if9: master sky.4096", { op: "set", kind: "link", link: { index: 9, master: 7 } }],
    ["changing link if9: to another network namespace", { op: "set", kind: "link", link: { index: 9, netnsFd: 20 } }],
    ["deleting link sky.4096", { op: "del", kind: "link", link: { index: 7 } }],
    ["deleting link old", { op: "del", kind: "link", link: { index: 9, name: "old" } }],
  ];
  for (const [text, operation] of cases) {
    it(text, () => assert.equal(describeOperation(operation, nameOf), text));
  }
});

describe("netlink errors", () => {
  it("say what failed in the words of the C library", () => {
    const error = new NetlinkError({ errno: 17, operation: { op: "add", kind: "route", route }, nameOf });
    assert.equal(error.message, "EEXIST adding route 10.244.2.0/24 via 10.244.2.0 dev sky.4096: File exists");
    assert.deepEqual([error.code, error.errno, error.extack], ["EEXIST", 17, undefined]);
    assert.equal(error.operation?.kind, "route");
  });

  it("carry the kernel's explanation", () => {
    const error = new NetlinkError({ errno: 34, doing: "adding x", extack: "VXLAN ID must be lower than 16777216" });
    assert.equal(
      error.message,
      "ERANGE adding x: Numerical result out of range (VXLAN ID must be lower than 16777216)",
    );
    assert.equal(error.extack, "VXLAN ID must be lower than 16777216");
  });

  it("name what timed out and what kept being interrupted", () => {
    assert.equal(
      new NetlinkTimeout("listing links", 5000).message,
      "no answer from the kernel within 5000 ms when listing links",
    );
    assert.match(new DumpInterrupted("listing links", 16).message, /^listing links was interrupted 16 times/);
  });
});
