import assert from "node:assert/strict";
import fc from "fast-check";
import { describeOperation, type Operation } from "../../../src/netlink/index.ts";
import { HOST_MAC, hostIfname, podMacOf } from "../../../src/dataplane/pod-link/index.ts";
import { hostOperations, pairOperation, podOperations, wayOperations } from "../../../src/dataplane/pod-link/plan.ts";

const say = (operations: readonly Operation[]) =>
  operations.map((operation) => describeOperation(operation, () => "dev0"));
const index = 7;
const mac = "02:00:00:00:00:05";

describe("names of a pod's link", () => {
  it("follow from container ID and interface name, fit the kernel, and differ", () => {
    assert.equal(hostIfname("c1", "eth0"), hostIfname("c1", "eth0"));
    fc.assert(
      fc.property(fc.string(), fc.string(), (containerId, ifname) => {
        assert.match(hostIfname(containerId, ifname), /^sky[0-9a-f]{11}$/);
        assert.match(podMacOf(containerId, ifname), /^[0-9a-f][26ae](:[0-9a-f]{2}){5}$/);
      }),
    );
    assert.notEqual(hostIfname("c1", "eth0"), hostIfname("c1", "eth1"));
    assert.notEqual(podMacOf("c1", "eth0"), podMacOf("c2", "eth0"));
  });
});

describe("the plan of a pod's link", () => {
  it("makes the pair in the sandbox, its peer in the host's namespace", () => {
    assert.deepEqual(pairOperation({ ifname: "eth0", podMac: mac, hostIfname: "sky1", hostFd: 9, mtu: 1450 }), {
      op: "add",
      kind: "link",
      link: {
        kind: "veth",
        name: "eth0",
        mac,
        mtu: 1450,
        queues: 1,
        peer: { name: "sky1", mac: HOST_MAC, mtu: 1450, group: 0x534b, netnsFd: 9 },
      },
    });
  });

  it("is up before it has routes, and has no link-local address of the kernel's making before it is up", () => {
    for (const addresses of [["10.0.0.2"], ["fd00::2"], ["10.0.0.2", "fd00::2"]]) {
      for (const plan of [
        hostOperations({ index, addresses, ipv6: true, alias: "a" }),
        podOperations({ index, addresses, ipv6: true, mac }),
      ]) {
        const up = plan.findIndex((o) => o.op === "set" && o.link.up);
        const gen = plan.findIndex((o) => o.op === "set" && o.link.addrGenMode === "none");
        assert.ok(gen >= 0 && gen < up);
        assert.ok(plan.every((o, i) => o.kind === "link" || i > up));
      }
    }
  });

  it("needs nothing of IPv6 where the kernel has none", () => {
    const plan = [
      ...hostOperations({ index, addresses: ["10.0.0.2"], ipv6: false, alias: "a" }),
      ...wayOperations({ index, addresses: ["10.0.0.2"], podMac: mac }),
      ...podOperations({ index, addresses: ["10.0.0.2"], ipv6: false, mac }),
    ];
    assert.ok(!/addrGenMode|fe80/.test(JSON.stringify(plan)));
  });

  it("routes the host to no pod that is on standby, which is complete otherwise", () => {
    const end = { index, addresses: ["10.0.0.2", "fd00::2"], podMac: mac };
    const [usual, standby] = [wayOperations(end), wayOperations({ ...end, standby: true })];
    assert.deepEqual(
      standby,
      usual.filter((o) => !JSON.stringify(o).includes("10.0.0.2") && !JSON.stringify(o).includes("fd00::2")),
    );
    // A route and a neighbour for each.
    assert.equal(usual.length, standby.length + 4);
  });

  it("routes the host to the pod and the pod through its gateways, whose MAC it knows", () => {
    const ends = { index, addresses: ["10.0.0.2", "fd00::2"] };
    const host = say([
      ...hostOperations({ ...ends, ipv6: true, alias: "a" }),
      ...wayOperations({ ...ends, podMac: mac }),
    ]).join("\n");
    for (const part of ["169.254.1.1/32", "fe80::1/64", "10.0.0.2/32", "fd00::2/128"])
      assert.ok(host.includes(part), part);
    const pod = podOperations({ index, addresses: ["10.0.0.2", "fd00::2"], ipv6: true, mac });
    const neighbours = pod.flatMap((o) => (o.kind === "neighbour" ? [`${o.neighbour.ip} ${o.neighbour.mac}`] : []));
    assert.deepEqual(neighbours, [`169.254.1.1 ${HOST_MAC}`, `fe80::1 ${HOST_MAC}`]);
    const gateways = pod.flatMap((o) => (o.kind === "route" && o.route.dst === "default" ? [o.route.gateway] : []));
    assert.deepEqual(gateways, ["169.254.1.1", "fe80::1"]);
    const v6 = pod.flatMap((o) => (o.kind === "address" && o.address.ip.includes(":") ? [o.address.nodad] : []));
    assert.deepEqual(v6, [true, true]);
  });
});
