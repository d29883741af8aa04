/** Every kind of object: made by Skylane, seen by iproute2, listed again by Skylane, changed and deleted. */
import assert from "node:assert/strict";
import { type Link, NetlinkError, type Operation, Rtnl } from "../../../src/netlink/index.ts";
import { closeFd, openNetns } from "../../../src/sys/index.ts";
import { addrGenMode, testNamespace } from "../support/netns.ts";

const MAC = "02:00:00:00:00:01";

/** The first object that a command with -j printed, with the given fields only. */
const fields = (object: Record<string, unknown> | undefined, ...names: string[]) =>
  Object.fromEntries(names.map((name) => [name, object?.[name]]));

const code = (expected: string) => (error: unknown) => {
  assert.ok(error instanceof NetlinkError, String(error));
  assert.equal(error.code, expected, error.message);
  return true;
};

describe("kernel objects", () => {
  const ns = testNamespace("objects");
  let rtnl: Rtnl;
  let device: Link;

  const link = (name: string): Link => {
    const found = rtnl.link(name);
    assert.ok(found, `there is no ${name}`);
    return found;
  };
  const refuses = (operation: Operation, expected: string) =>
    assert.throws(() => rtnl.execute(operation), code(expected));

  before(() => {
    rtnl = Rtnl.open({ netns: ns.path });
    rtnl.execute({
      op: "add",
      kind: "link",
      link: { kind: "vxlan", name: "sky.4096", vni: 4096, port: 4789, local: "172.30.0.11", mac: MAC, mtu: 1450 },
    });
    device = link("sky.4096");
    rtnl.execute({ op: "set", kind: "link", link: { index: device.index, up: true } });
    rtnl.execute({ op: "add", kind: "address", address: { ifindex: device.index, ip: "10.244.1.0", prefix: 32 } });
  });
  after(() => rtnl.close());

  it("makes a VXLAN device as iproute2 shows it", () => {
    const [seen] = ns.json("ip", "-j", "-d", "link", "show", "sky.4096");
    assert.deepEqual(fields(seen, "ifindex", "address", "mtu"), { ifindex: device.index, address: MAC, mtu: 1450 });
    const info = seen?.linkinfo as { info_kind: string; info_data: Record<string, unknown> };
    assert.equal(info.info_kind, "vxlan");
    assert.deepEqual(fields(info.info_data, "id", "local", "port", "learning"), {
      id: 4096,
      local: "172.30.0.11",
      port: 4789,
      learning: false,
    });
    assert.deepEqual(device.vxlan, { vni: 4096, port: 4789, local: "172.30.0.11", learning: false });
    assert.deepEqual([device.kind, device.mac, device.mtu, device.up], ["vxlan", MAC, 1450, false]);
    assert.equal(link("sky.4096").up, true);
  });

  it("makes a VXLAN device over IPv6, bound to a device, without a link-local address", () => {
    const lo = link("lo").index;
    rtnl.execute({
      op: "add",
      kind: "link",
      link: {
        kind: "vxlan",
        name: "sky.6",
        vni: 6,
        port: 8472,
        local: "fd30::11",
        link: lo,
        learning: true,
        addrGenMode: "none",
        alias: "six",
        group: 9,
      },
    });
    const made = link("sky.6");
    assert.deepEqual(made.vxlan, { vni: 6, port: 8472, local: "fd30::11", learning: true, link: lo });
    assert.ok(made.addrGenMode === undefined || made.addrGenMode === "none");
    assert.deepEqual([made.alias, made.group, addrGenMode(ns, "sky.6")], ["six", 9, "none"]);
    const [seen] = ns.json("ip", "-j", "-d", "link", "show", "sky.6");
    assert.deepEqual(fields(seen, "ifalias", "group"), {
      ifalias: "six",
      group: "9",
    });
    rtnl.execute({ op: "set", kind: "link", link: { index: made.index, up: true } });
    assert.deepEqual(rtnl.addresses({ ifindex: made.index }), []);
    rtnl.execute({ op: "del", kind: "link", link: made });
    assert.equal(rtnl.link("sky.6"), undefined);
    assert.equal(rtnl.link(made.index), undefined);
  });

  it("makes a veth pair across namespaces, each end with all of its properties", () => {
    using sandbox = testNamespace("sandbox");
    using inside = Rtnl.open({ netns: sandbox.path });
    const host = openNetns(ns.path);
    try {
      const common = { mtu: 1400, addrGenMode: "none" } as const;
      inside.execute({
        op: "add",
        kind: "link",
        link: {
          kind: "veth",
          name: "eth0",
          mac: MAC,
          ...common,
          peer: {
            name: "skyabc",
            mac: "ee:ee:ee:ee:ee:ee",
            netnsFd: host,
            group: 0x534b,
            alias: "ns/pod/eth0",
            txQueueLen: 0,
            ...common,
          },
        },
      });
    } finally {
      closeFd(host);
    }
    const pod = inside.link("eth0");
    const end = link("skyabc");
    assert.deepEqual(
      [pod?.kind, pod?.mac, pod?.mtu, addrGenMode(sandbox, "eth0"), pod?.peerIndex],
      ["veth", MAC, 1400, "none", end.index],
    );
    assert.deepEqual(
      [end.kind, end.mac, end.mtu, addrGenMode(ns, "skyabc"), end.peerIndex, end.alias, end.group, end.txQueueLen],
      ["veth", "ee:ee:ee:ee:ee:ee", 1400, "none", pod?.index, "ns/pod/eth0", 0x534b, 0],
    );
    assert.equal(typeof end.peerNetnsId, "number");
    inside.execute({ op: "del", kind: "link", link: { index: pod?.index as number } });
    assert.equal(rtnl.link("skyabc"), undefined);
  });

  it("leaves no device when its second end cannot have what it is asked to have", () => {
    const alias = "x".repeat(300);
    refuses(
      { op: "add", kind: "link", link: { kind: "veth", name: "half0", peer: { name: "half1", alias } } },
      "ERANGE",
    );
    assert.equal(rtnl.link("half0"), undefined);
    assert.equal(rtnl.link("half1"), undefined);
  });

  it("does not touch a device that was there when asked to make it", () => {
    const index = device.index;
    rtnl.execute({ op: "set", kind: "link", link: { index, alias: "mine" } });
    refuses({ op: "add", kind: "link", link: { kind: "bridge", name: "sky.4096", alias: "other" } }, "EEXIST");
    assert.equal(link("sky.4096").alias, "mine");
    assert.equal(link("sky.4096").index, index);
  });

  it("changes devices: name, MTU, MAC, alias, group, master, namespace, up and down", () => {
    using other = testNamespace("other");
    const netnsFd = openNetns(other.path);
    try {
      rtnl.execute({ op: "add", kind: "link", link: { kind: "bridge", name: "br0" } });
      rtnl.execute({ op: "add", kind: "link", link: { kind: "veth", name: "a0", peer: { name: "a1" } } });
      const { index } = link("a0");
      const master = link("br0").index;
      rtnl.execute({
        op: "set",
        kind: "link",
        link: { index, name: "b0", mtu: 1300, mac: MAC, alias: "x", group: 4, master, up: true },
      });
      const [seen] = ns.json("ip", "-j", "-d", "link", "show", "b0");
      assert.deepEqual(fields(seen, "ifindex", "mtu", "address", "ifalias", "group", "master"), {
        ifindex: index,
        mtu: 1300,
        address: MAC,
        ifalias: "x",
        group: "4",
        master: "br0",
      });
      const changed = link("b0");
      assert.deepEqual([changed.master, changed.up, changed.alias, changed.group], [master, true, "x", 4]);
      rtnl.execute({ op: "set", kind: "link", link: { index, master: 0, up: false } });
      assert.deepEqual([link("b0").master, link("b0").up], [undefined, false]);
      rtnl.execute({ op: "set", kind: "link", link: { index, netnsFd } });
      assert.equal(rtnl.link("b0"), undefined);
      assert.equal(other.json("ip", "-j", "link", "show", "b0").length, 1);
      // Takes the other end along at once; the end of its namespace would do so some time later.
      rtnl.execute({ op: "del", kind: "link", link: link("a1") });
      rtnl.execute({ op: "del", kind: "link", link: link("br0") });
    } finally {
      closeFd(netnsFd);
    }
  });

  it("lists the same devices as iproute2", () => {
    const seen = ns.json("ip", "-j", "link").map((each) => [each.ifindex, each.ifname, each.mtu]);
    assert.deepEqual(
      rtnl.links().map((each) => [each.index, each.name, each.mtu]),
      seen,
    );
    assert.equal(rtnl.link("lo")?.loopback, true);
    assert.equal(rtnl.link("no-such-device-name-at-all"), undefined);
  });

  for (const [ip, prefix, scope] of [
    ["10.9.0.1", 24, 0],
    ["fd09::1", 64, 0],
    ["fe80::9", 64, 253],
  ] as const) {
    it(`adds, replaces, lists and deletes address ${ip}/${prefix}`, () => {
      const address = { ifindex: device.index, ip, prefix, nodad: ip.includes(":"), noPrefixRoute: true };
      rtnl.execute({ op: "add", kind: "address", address });
      refuses({ op: "add", kind: "address", address }, "EEXIST");
      rtnl.execute({ op: "replace", kind: "address", address });
      const listed = rtnl.addresses({ ifindex: device.index }).filter((each) => each.ip === ip);
      const nodad = ip.includes(":") ? { nodad: true } : {};
      assert.deepEqual(listed, [
        { ifindex: device.index, ip, prefix, scope, ...nodad, noPrefixRoute: true, permanent: true },
      ]);
      const seen = ns.json("ip", "-j", "addr", "show", "dev", "sky.4096")[0]?.addr_info as Record<string, unknown>[];
      const one = seen.find((each) => each.local === ip);
      assert.deepEqual(fields(one, "prefixlen", "noprefixroute"), { prefixlen: prefix, noprefixroute: true });
      rtnl.execute({ op: "del", kind: "address", address });
      assert.equal(rtnl.addresses({ ifindex: device.index }).filter((each) => each.ip === ip).length, 0);
      refuses({ op: "del", kind: "address", address }, "EADDRNOTAVAIL");
    });
  }

  it("filters addresses by family and device", () => {
    assert.deepEqual(
      rtnl.addresses({ family: 4, ifindex: device.index }).map((each) => each.ip),
      ["10.244.1.0"],
    );
    assert.ok(rtnl.addresses({ family: 6 }).every((each) => each.ip.includes(":")));
    assert.deepEqual(rtnl.addresses({ ifindex: 99_999 }), []);
  });

  for (const [family, dst, gateway, other] of [
    [4, "10.244.2.0/24", "10.244.2.0", "10.244.3.0"],
    [6, "fd00:10:244:2::/64", "fd00:10:244:2::", "fd00:10:244:3::"],
  ] as const) {
    it(`adds, replaces, lists and deletes an IPv${family} route through a gateway that is on the link`, () => {
      const route = { family, dst, gateway, ifindex: device.index, onlink: true, mtu: 1400 } as const;
      const add = { op: "add", kind: "route", route } as const;
      rtnl.execute(add);
      assert.throws(() => rtnl.execute(add), {
        message: `EEXIST adding route ${dst} via ${gateway} dev sky.4096: File exists`,
      });
      const metric = family === 6 ? { metric: 1024 } : {};
      const listed = { ...route, table: 254, protocol: 83, scope: 0, type: 1, ...metric };
      assert.deepEqual(rtnl.routes({ family, protocol: 83 }), [listed]);
      assert.deepEqual(rtnl.routes({ ifindex: device.index, protocol: 83 }), [listed]);
      const [seen] = ns.json("ip", "-j", `-${family}`, "route", "show", dst);
      assert.deepEqual(fields(seen, "gateway", "dev", "protocol", "flags"), {
        gateway,
        dev: "sky.4096",
        protocol: "83",
        flags: ["onlink"],
      });

      rtnl.execute({ op: "replace", kind: "route", route: { ...route, gateway: other } });
      assert.deepEqual(
        rtnl.routes({ family, protocol: 83 }).map((each) => each.gateway),
        [other],
      );
      rtnl.execute({ op: "del", kind: "route", route: { ...route, gateway: other } });
      assert.deepEqual(rtnl.routes({ family, protocol: 83 }), []);
      refuses({ op: "del", kind: "route", route }, "ESRCH");
    });
  }

  it("does not delete a route of somebody else", () => {
    ns.exec("ip", "route", "add", "10.250.0.0/24", "dev", "sky.4096", "proto", "static");
    const route = { family: 4, dst: "10.250.0.0/24", ifindex: device.index } as const;
    refuses({ op: "del", kind: "route", route }, "ESRCH");
    rtnl.execute({ op: "del", kind: "route", route: { ...route, protocol: 4 } });
    assert.deepEqual(rtnl.routes({ family: 4, protocol: 4 }), []);
  });

  it("handles default, blackhole, host and tabled routes and a gateway of the other family", () => {
    rtnl.execute({
      op: "add",
      kind: "address",
      address: { ifindex: device.index, ip: "fe80::11", prefix: 64, nodad: true },
    });
    const base = { protocol: 83, scope: 0, type: 1, ifindex: device.index };
    const routes = [
      { ...base, family: 4 as const, dst: "default", gateway: "169.254.1.1", onlink: true, table: 254 },
      { family: 4 as const, dst: "10.99.0.0/16", table: 254, protocol: 83, scope: 0, type: 6 },
      { ...base, family: 4 as const, dst: "10.98.0.7/32", table: 1000, scope: 253 },
      { ...base, family: 4 as const, dst: "10.97.0.0/16", gateway: "fe80::1", table: 254 },
    ];
    for (const route of routes) rtnl.execute({ op: "add", kind: "route", route });
    const listed = rtnl.routes({ protocol: 83 });
    for (const route of routes)
      assert.ok(
        listed.some((each) => JSON.stringify(sorted(each)) === JSON.stringify(sorted(route))),
        route.dst,
      );
    assert.equal(listed.length, routes.length);
    assert.deepEqual(
      rtnl.routes({ table: 1000 }).map((each) => each.dst),
      ["10.98.0.7/32"],
    );
    assert.deepEqual(rtnl.routes({ table: 4242 }), []);
    for (const route of listed) rtnl.execute({ op: "del", kind: "route", route });
    assert.deepEqual(rtnl.routes({ protocol: 83 }), []);
  });

  it("leaves local routes out unless asked for them", () => {
    assert.ok(rtnl.routes().every((route) => route.table !== 255));
    assert.ok(rtnl.routes({ table: 255, family: 4 }).some((route) => route.dst === "127.0.0.0/8"));
  });

  it("asks the kernel which way a packet would go", () => {
    rtnl.execute({
      op: "add",
      kind: "route",
      route: {
        family: 4,
        dst: "10.244.7.0/24",
        gateway: "10.244.7.0",
        ifindex: device.index,
        onlink: true,
        prefSrc: "10.244.1.0",
      },
    });
    const found = rtnl.routeTo("10.244.7.5");
    assert.deepEqual(fields({ ...found }, "dst", "gateway", "ifindex", "prefSrc", "table"), {
      dst: "10.244.7.5/32",
      gateway: "10.244.7.0",
      ifindex: device.index,
      prefSrc: "10.244.1.0",
      table: 254,
    });
    assert.equal(rtnl.routeTo("::1").ifindex, rtnl.link("lo")?.index);
    assert.throws(() => rtnl.routeTo("192.0.2.1"), {
      message: "ENETUNREACH looking up the route to 192.0.2.1: Network is unreachable",
    });
    rtnl.execute({ op: "del", kind: "route", route: { family: 4, dst: "10.244.7.0/24", ifindex: device.index } });
  });

  for (const ip of ["10.244.2.0", "fd00:10:244:2::"]) {
    it(`adds, replaces, lists and deletes the neighbour ${ip}`, () => {
      const neighbour = { ifindex: device.index, ip, mac: "02:00:00:00:00:02" };
      rtnl.execute({ op: "add", kind: "neighbour", neighbour });
      refuses({ op: "add", kind: "neighbour", neighbour }, "EEXIST");
      rtnl.execute({ op: "replace", kind: "neighbour", neighbour: { ...neighbour, mac: "02:00:00:00:00:03" } });
      const mine = () => rtnl.neighbours({ ifindex: device.index }).filter((each) => each.ip === ip);
      assert.deepEqual(mine(), [{ ...neighbour, mac: "02:00:00:00:00:03", state: 0x80 }]);
      const [seen] = ns.json("ip", "-j", "neigh", "show", ip, "dev", "sky.4096");
      assert.deepEqual(fields(seen, "lladdr", "state"), { lladdr: "02:00:00:00:00:03", state: ["PERMANENT"] });
      rtnl.execute({ op: "del", kind: "neighbour", neighbour });
      assert.deepEqual(mine(), []);
      refuses({ op: "del", kind: "neighbour", neighbour }, "ENOENT");
    });
  }

  it("filters neighbours by device and family", () => {
    rtnl.execute({ op: "add", kind: "link", link: { kind: "veth", name: "n0", peer: { name: "n1" } } });
    const { index } = link("n0");
    for (const ip of ["10.1.1.1", "fd01::1"])
      rtnl.execute({ op: "add", kind: "neighbour", neighbour: { ifindex: index, ip, mac: MAC } });
    assert.deepEqual(
      rtnl.neighbours({ ifindex: index, family: 6 }).map((each) => each.ip),
      ["fd01::1"],
    );
    assert.equal(rtnl.neighbours({ ifindex: index }).length, 2);
    assert.equal(rtnl.neighbours({ ifindex: device.index }).filter((each) => each.mac === MAC).length, 0);
    rtnl.execute({ op: "del", kind: "link", link: { index } });
  });

  it("adds, replaces, lists and deletes FDB entries", () => {
    const ifindex = device.index;
    const fdb = { ifindex, mac: "02:00:00:00:00:02", dst: "172.30.0.12" };
    rtnl.execute({ op: "add", kind: "fdb", fdb });
    refuses({ op: "add", kind: "fdb", fdb }, "EEXIST");
    rtnl.execute({ op: "replace", kind: "fdb", fdb: { ...fdb, dst: "172.30.0.13" } });
    assert.deepEqual(rtnl.fdb({ ifindex }), [{ ...fdb, dst: "172.30.0.13", state: 0x80 }]);
    const seen = ns.json("bridge", "-j", "fdb", "show", "dev", "sky.4096");
    assert.deepEqual(
      seen.map((each) => fields(each, "mac", "dst", "state", "flags")),
      [{ mac: fdb.mac, dst: "172.30.0.13", state: "permanent", flags: ["self"] }],
    );
    // The kernel takes the deletion of another destination for done already, and leaves the entry alone.
    rtnl.execute({ op: "del", kind: "fdb", fdb });
    assert.equal(rtnl.fdb({ ifindex }).length, 1);
    rtnl.execute({ op: "replace", kind: "fdb", fdb: { ...fdb, dst: "172.30.0.14", port: 8472, vni: 77 } });
    assert.deepEqual(rtnl.fdb({ ifindex }), [{ ...fdb, dst: "172.30.0.14", port: 8472, vni: 77, state: 0x80 }]);
    rtnl.execute({ op: "del", kind: "fdb", fdb: { ...fdb, dst: "172.30.0.14", port: 8472, vni: 77 } });
    assert.deepEqual(rtnl.fdb({ ifindex }), []);
    refuses({ op: "del", kind: "fdb", fdb }, "ENOENT");
  });

  it("lists FDB entries of one device only, IPv6 as well", () => {
    rtnl.execute({
      op: "add",
      kind: "link",
      link: { kind: "vxlan", name: "sky.7", vni: 7, port: 4789, local: "fd30::11" },
    });
    const { index } = link("sky.7");
    rtnl.execute({ op: "add", kind: "fdb", fdb: { ifindex: index, mac: MAC, dst: "fd30::12" } });
    assert.deepEqual(rtnl.fdb({ ifindex: index }), [{ ifindex: index, mac: MAC, dst: "fd30::12", state: 0x80 }]);
    assert.deepEqual(rtnl.fdb({ ifindex: device.index }), []);
    assert.deepEqual(rtnl.fdb({ ifindex: 99_999 }), []);
    rtnl.execute({ op: "del", kind: "link", link: { index } });
  });

  it("adds, lists and deletes rules of both families", () => {
    for (const [family, src] of [
      [4, "10.244.1.0/24"],
      [6, "fd00:10:244:1::/64"],
    ] as const) {
      const rule = {
        family,
        priority: 100,
        table: 1000,
        src,
        iifname: "sky.4096",
        fwmark: 16,
        fwmask: 0xff,
        suppressPrefixLength: 0,
        protocol: 83,
      };
      rtnl.execute({ op: "add", kind: "rule", rule });
      refuses({ op: "add", kind: "rule", rule }, "EEXIST");
      assert.deepEqual(
        rtnl.rules({ family }).filter((each) => each.priority === 100),
        [rule],
      );
      const [seen] = ns.json("ip", "-j", `-${family}`, "rule", "show", "priority", "100");
      assert.deepEqual(fields(seen, "src", "table", "iif", "fwmark", "suppress_prefixlen"), {
        src: src.split("/")[0],
        table: "1000",
        iif: "sky.4096",
        fwmark: "0x10",
        suppress_prefixlen: 0,
      });
      rtnl.execute({ op: "del", kind: "rule", rule });
      refuses({ op: "del", kind: "rule", rule }, "ENOENT");
    }
    assert.deepEqual(
      rtnl.rules().map((each) => [each.family, each.priority]),
      [
        [4, 0],
        [4, 32_766],
        [4, 32_767],
        [6, 0],
        [6, 32_766],
      ],
    );
  });
});

/** An object with its keys in order, so that its text is the same whatever order they were set in. */
const sorted = (object: object) => Object.fromEntries(Object.entries(object).sort(([a], [b]) => a.localeCompare(b)));
