/** Ports of a bridge are locked, or are none: a kernel that cannot lock them lets pods send from each other's addresses. */
import assert from "node:assert/strict";
import { ensureBridge, ensurePorts } from "../../../src/dataplane/bridge/device.ts";
import type { BridgedNetwork } from "../../../src/dataplane/bridge/index.ts";
import { type Link, type Operation, OVERLAY_LINK_GROUP, type Rtnl } from "../../../src/netlink/index.ts";
import { linkOf } from "../../support/link.ts";

/** Of a device that this machine does not have: its kernel parameters are nobody's. */
const local: BridgedNetwork = {
  network: "blue",
  node: "self",
  vni: 16_000_007,
  device: "sky.16000007",
  port: 4789,
  mtu: 1450,
  mac: "02:00:00:00:00:01",
  underlayIp: "172.30.0.1",
  broadcast: "Replicate",
};

type Made = Record<"name" | "kind" | "mac" | "alias" | "local", string> & Record<"mtu" | "vni" | "port", number>;

/** A kernel that has a pod's host end, makes devices and ports as it is told, and knows locked ports or does not. */
function kernel(knowsLocks: boolean): Rtnl {
  const links = new Map([[11, linkOf(11, "p1", { kind: "veth" })]]);
  const link = (which: string | number): Link | undefined =>
    [...links.values()].find(({ name, index }) => name === which || index === which);
  const apply = (operation: Operation): void => {
    assert.ok(operation.kind === "link");
    if (operation.op === "add") {
      const { name, kind, mtu, mac, alias, vni, port, local: ip } = operation.link as Made;
      const index = 100 + links.size;
      const vxlan = kind === "vxlan" && { vxlan: { vni, port, local: ip, learning: false } };
      const more = { kind, mtu, mac, alias, group: OVERLAY_LINK_GROUP, up: false, ...vxlan };
      links.set(index, linkOf(index, name, more));
      return;
    }
    assert.ok(operation.op === "set");
    const { index, port, ...change } = operation.link;
    const before = links.get(index) as Link;
    const { locked, ...known } = { ...before.port, ...port };
    const settings = knowsLocks && locked !== undefined ? { ...known, locked } : known;
    links.set(index, { ...before, ...change, ...(port && { port: settings }) } as Link);
  };
  return {
    link,
    links: () => [...links.values()],
    execute: apply,
    executeAll: (operations: readonly Operation[]) => {
      operations.forEach(apply);
      return [];
    },
  } as unknown as Rtnl;
}

describe("a pod's port", () => {
  it("is one once the kernel has locked it", () => {
    const rtnl = kernel(true);
    const indexes = new Map<string, number>();
    const { changed, refused } = ensurePorts(rtnl, ["p1"], (name) => rtnl.link(name), 2, indexes);
    assert.deepEqual([[...changed], [...refused]], [["p1"], []]);
    assert.deepEqual([...indexes], [["p1", 11]]);
    assert.equal(rtnl.link("p1")?.port?.locked, true);
  });

  it("is refused where the kernel knows no locked ports, with what it takes", () => {
    const rtnl = kernel(false);
    const indexes = new Map<string, number>();
    const { refused } = ensurePorts(rtnl, ["p1"], (name) => rtnl.link(name), 2, indexes);
    assert.match(refused.get("p1") ?? "", /cannot lock p1 .*Linux 5\.16/);
    assert.deepEqual([...indexes], [], "no entry may be made for it");
  });
});

describe("the tunnel's port of a bridge", () => {
  it("is locked", () => {
    const rtnl = kernel(true);
    const { devices } = ensureBridge(rtnl, local, ["p1"], {});
    assert.equal(rtnl.link(devices.vxlan)?.port?.locked, true);
    assert.deepEqual([...devices.ports.keys()], [local.device, "p1"]);
  });

  it("keeps a network from being made where the kernel cannot lock it", () => {
    assert.throws(() => ensureBridge(kernel(false), local, [], {}), /cannot lock sky\.16000007 .*Linux 5\.16/);
  });
});
