import assert from "node:assert/strict";
import type { Link, Operation } from "../../../src/netlink/index.ts";
import { checksumOffloadWorks, deviceOf, ensureDevice, planDevice } from "../../../src/dataplane/vxlan/index.ts";
import { DeviceConflict } from "../../../src/peers/index.ts";
import { local, ownDevice as right } from "./support.ts";

const desired = deviceOf(local);
const info = right.vxlan as NonNullable<Link["vxlan"]>;
const uplink: Link = { ...right, index: 2, name: "eth0", kind: "veth" };
delete uplink.vxlan;
const shape = (operations: readonly Operation[]) => operations.map(({ op, kind }) => `${op} ${kind}`);

describe("the VXLAN device", () => {
  it("stays as it is where it is right", () => {
    assert.deepEqual(planDevice(desired, [uplink, right]), { operations: [], remade: [] });
  });

  it("is made where there is none: no learning, no group, no link-local address", () => {
    const { operations } = planDevice(desired, [uplink]);
    assert.deepEqual(operations, [
      {
        op: "add",
        kind: "link",
        link: {
          kind: "vxlan",
          name: "sky.4096",
          vni: 4096,
          port: 4789,
          local: local.underlayIp,
          mac: local.mac,
          mtu: 1450,
          alias: "skylane network default",
          group: 0x534c,
          learning: false,
          addrGenMode: "none",
        },
      },
    ]);
  });

  it("is changed in place in its MTU, MAC, alias and link group", () => {
    const other = { ...right, mtu: 1500, mac: "02:00:00:00:00:99", alias: "x", group: 0 };
    assert.deepEqual(planDevice(desired, [other]), {
      operations: [
        {
          op: "set",
          kind: "link",
          link: { index: 9, mac: local.mac, mtu: 1450, alias: "skylane network default", group: 0x534c },
        },
      ],
      remade: [],
    });
  });

  it("is made anew, once, for any other setting", () => {
    const others: [string, Link["vxlan"], number?][] = [
      ["VNI", { ...info, vni: 1 }],
      ["port", { ...info, port: 8472 }],
      ["local address", { ...info, local: "172.30.0.9" }],
      ["learning", { ...info, learning: true }],
      ["group", { ...info, group: "239.1.1.1" }],
      ["underlay device", { ...info, link: 2 }],
      ["bridge or VRF", info, 5],
    ];
    for (const [what, vxlan, master] of others) {
      const link = { ...right, ...(vxlan && { vxlan }), ...(master !== undefined && { master }) };
      const { operations, remade } = planDevice(desired, [link]);
      assert.deepEqual([shape(operations), remade], [["del link", "add link"], [what]]);
    }
  });

  it("leaves another VNI's device of the same network behind, and no other network's", () => {
    const before: Link = { ...right, index: 4, name: "sky.77", vxlan: { ...info, vni: 77 } };
    const blue: Link = {
      ...before,
      index: 5,
      name: "sky.88",
      alias: "skylane network blue",
      vxlan: { ...info, vni: 88 },
    };
    const { operations } = planDevice(desired, [before, blue, right]);
    assert.deepEqual(operations, [{ op: "del", kind: "link", link: { index: 4, name: "sky.77" } }]);
  });

  it("is made anew where somebody renamed it: the renamed one has our VNI and port", () => {
    const renamed: Link = { ...right, name: "renamed0" };
    const { operations } = planDevice(desired, [uplink, renamed]);
    assert.deepEqual(shape(operations), ["del link", "add link"]);
    assert.deepEqual(operations[0], { op: "del", kind: "link", link: { index: 9, name: "renamed0" } });
  });

  it("names what of others is in the way and touches none of it", () => {
    const flannel: Link = { ...right, index: 3, name: "flannel.1", vxlan: { ...info } };
    delete flannel.alias;
    assert.throws(
      () => planDevice(desired, [flannel]),
      (error) =>
        error instanceof DeviceConflict &&
        error.device === "flannel.1" &&
        /VNI 4096 on UDP port 4789/.test(error.message),
    );
    assert.throws(
      () => planDevice(desired, [{ ...uplink, name: "sky.4096", kind: "dummy" }]),
      (error) => error instanceof DeviceConflict && /a dummy device called sky\.4096/.test(error.message),
    );
    assert.deepEqual(planDevice(desired, [{ ...flannel, vxlan: { ...info, port: 8472 } }, right]).operations, []);
    assert.deepEqual(planDevice(desired, [{ ...flannel, vxlan: { ...info, vni: 1 } }, right]).operations, []);
  });

  it("that is made from another namespace looks there too for what is in the way", () => {
    const executed: { where: string; operation: Operation }[] = [];
    const side = (where: string, links: Link[]) => ({
      links: () => links,
      link: (name: string | number) => links.find((link) => link.name === name),
      execute: (operation: Operation) => {
        executed.push({ where, operation });
        if (operation.op === "add") there.push(right);
      },
    });
    const there: Link[] = [];
    const ensure = (host: Link[]) =>
      ensureDevice(
        side("there", there),
        desired,
        { ipv6: false, netns: undefined },
        {
          rtnl: side("host", host),
          netns: 99,
        },
      );
    const flannel: Link = { ...right, index: 3, name: "flannel.1", alias: "flannel" };
    assert.throws(() => ensure([uplink, flannel]), /flannel\.1 uses VNI 4096/);
    assert.throws(
      () => ensure([{ ...uplink, name: "sky.4096", kind: "dummy" }]),
      /the host has a device called sky\.4096/,
    );
    assert.equal(executed.length, 0);
    assert.deepEqual(ensure([uplink, { ...right, index: 5 }]).did, ["deleted sky.4096", "made it"]);
    assert.deepEqual(
      executed.map(({ where, operation }) => `${where}: ${operation.op}`),
      ["host: del", "host: add"],
    );
    assert.partialDeepStrictEqual(executed[1]?.operation, { link: { netnsFd: 99 } });
  });

  it("is not made again and again when the kernel makes it otherwise than asked for", () => {
    const executed: Operation[] = [];
    const stubborn: Link = { ...right, vxlan: { ...info, learning: true } };
    const rtnl = {
      links: () => [stubborn],
      link: () => stubborn,
      execute: (operation: Operation) => void executed.push(operation),
    };
    assert.throws(
      () => ensureDevice(rtnl, desired, { ipv6: false, netns: undefined }),
      /another learning than asked for/,
    );
    assert.deepEqual(shape(executed), ["del link", "add link"]);
  });
});

describe("transmit checksum offload", () => {
  it("is off by itself only where kernels corrupt masqueraded VXLAN packets with it", () => {
    for (const kernel of [
      "5.7.0",
      "5.10.0-28-amd64",
      "6.1.0-13-cloud-amd64",
      "6.18.44",
      "5.6.13",
      "5.4.41",
      "5.4.0-1.el8",
    ]) {
      assert.equal(checksumOffloadWorks(kernel), kernel !== "5.4.0-1.el8", kernel);
    }
    for (const kernel of [
      "5.6.12",
      "5.5.19",
      "5.4.40",
      "4.19.122",
      "4.18.0-553.el8_10.x86_64",
      "4.14.180",
      "3.10.0-1160.el7",
      "",
    ]) {
      assert.equal(checksumOffloadWorks(kernel), false, kernel);
    }
    assert.equal(checksumOffloadWorks("4.19.123"), true);
    assert.equal(checksumOffloadWorks("4.14.181"), true);
  });
});
