/** What Skylane writes, read by the `netlink` package's own parsers: an opinion that does not share our mistakes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import * as ifla from "netlink/dist/rt/ifla.js";
import * as rt from "netlink/dist/rt/structs.js";
import { getMap, getString, type NetlinkMessage, parseMessages } from "netlink/dist/structs.js";
import { cidrOf, ipToBytes, macToBytes } from "../../../src/addr/index.ts";
import { writeOperation } from "../../../src/netlink/encode/operation.ts";
import type { Operation, Route } from "../../../src/netlink/types.ts";
import { MessageWriter } from "../../../src/netlink/transport/writer.ts";
import * as arbitrary from "./arbitraries.ts";

function encode(operation: Operation): NetlinkMessage {
  const writer = new MessageWriter(16);
  writeOperation(writer, operation, 77);
  const messages = parseMessages(writer.buffer.subarray(0, writer.length));
  assert.equal(messages.length, 1);
  const message = messages[0] as NetlinkMessage;
  assert.equal(message.seq, 77);
  assert.equal(message.port, 0);
  return message;
}

const buffer = (bytes: Uint8Array | undefined) => bytes && Buffer.from(bytes);
const u32 = (value: number | undefined) => {
  if (value === undefined) return undefined;
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32LE(value);
  return bytes;
};
const defined = (object: object) =>
  Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined));

const sameFamily = (route: Route) =>
  route.gateway === undefined || route.gateway.includes(":") === (route.family === 6);

const CREATE_EXCL = 0x601;
const CREATE_REPLACE = 0x501;

describe("encoding of operations", () => {
  it("gives each verb its flags and each object its message type", () => {
    const dev = { ifindex: 3 };
    const objects: [number, Operation[]][] = [
      [
        20,
        (["add", "replace", "del"] as const).map((op) => ({
          op,
          kind: "address",
          address: { ...dev, ip: "10.0.0.1", prefix: 32 },
        })),
      ],
      [
        24,
        (["add", "replace", "del"] as const).map((op) => ({
          op,
          kind: "route",
          route: { family: 4, dst: "10.0.0.0/8", ...dev },
        })),
      ],
      [
        28,
        (["add", "replace", "del"] as const).map((op) => ({
          op,
          kind: "neighbour",
          neighbour: { ...dev, ip: "10.0.0.1" },
        })),
      ],
      [
        28,
        (["add", "replace", "del"] as const).map((op) => ({
          op,
          kind: "fdb",
          fdb: { ...dev, mac: "02:00:00:00:00:01", dst: "10.0.0.1" },
        })),
      ],
    ];
    for (const [type, [add, replace, del]] of objects) {
      assert.deepEqual([encode(add!).type, encode(add!).flags], [type, CREATE_EXCL]);
      assert.deepEqual([encode(replace!).type, encode(replace!).flags], [type, CREATE_REPLACE]);
      assert.deepEqual([encode(del!).type, encode(del!).flags], [type + 1, 1]);
    }
    assert.deepEqual([encode({ op: "del", kind: "link", link: { index: 3 } }).type], [17]);
    assert.equal(encode({ op: "set", kind: "link", link: { index: 3, up: true } }).flags, 1);
  });

  it("writes addresses that the package reads", () => {
    fc.assert(
      fc.property(arbitrary.address, (address) => {
        const read = rt.parseAddressMessage(encode({ op: "add", kind: "address", address }).data);
        assert.equal(read.data.family, address.ip.includes(":") ? 10 : 2);
        assert.equal(read.data.prefixlen, address.prefix);
        assert.equal(read.data.scope, address.scope);
        assert.equal(read.data.index, address.ifindex);
        const bytes = buffer(ipToBytes(address.ip));
        const flags = defined({ nodad: address.nodad, noprefixroute: address.noPrefixRoute });
        assert.deepEqual(
          { ...read.attrs },
          { local: bytes, address: bytes, ...(Object.keys(flags).length > 0 && { flags }) },
        );
      }),
    );
  });

  it("writes routes that the package reads", () => {
    fc.assert(
      // The package cannot read RTA_VIA; see below.
      fc.property(arbitrary.route.filter(sameFamily), (route) => {
        const message = encode({ op: "add", kind: "route", route });
        const { data, attrs } = rt.parseRouteMessage(message.data);
        assert.equal(data.family, route.family === 4 ? 2 : 10);
        assert.equal(data.dstLen, route.dst === "default" ? 0 : cidrOf(route.dst).prefix);
        assert.deepEqual([...message.data.subarray(5, 8)], [route.protocol, route.scope, route.type]);
        assert.deepEqual(data.flags, route.onlink ? { __unknown: 4 } : {});
        const table = route.table as number;
        assert.equal(data.table, table > 255 ? 0 : table);
        const address = (ip: string | undefined) => ip && buffer(ipToBytes(ip));
        assert.deepEqual(
          { ...attrs },
          defined({
            dst: route.dst === "default" ? undefined : address(route.dst.split("/")[0]),
            gateway: address(route.gateway),
            oif: route.ifindex,
            prefsrc: address(route.prefSrc),
            priority: route.metric,
            table: table > 255 ? table : undefined,
            metrics: route.mtu === undefined ? undefined : { mtu: u32(route.mtu) },
          }),
        );
      }),
    );
  });

  it("gives a gateway of the other family together with its family", () => {
    const route = { family: 4, dst: "10.0.0.0/8", gateway: "fe80::1", ifindex: 1 } as const;
    const attributes = getMap(encode({ op: "add", kind: "route", route }).data.subarray(12), (value) => value);
    assert.equal(attributes.has(5), false);
    assert.deepEqual(attributes.get(18), Buffer.concat([Buffer.from([10, 0]), ipToBytes("fe80::1")]));
  });

  it("writes neighbours and FDB entries that the package reads", () => {
    fc.assert(
      fc.property(arbitrary.neighbour, arbitrary.fdb, (neighbour, fdb) => {
        const a = rt.parseNeighborMessage(encode({ op: "add", kind: "neighbour", neighbour }).data);
        assert.equal(a.data.family, neighbour.ip.includes(":") ? 10 : 2);
        assert.equal(a.data.ifindex, neighbour.ifindex);
        assert.deepEqual(a.data.flags, {});
        assert.deepEqual(
          { ...a.attrs },
          defined({
            dst: buffer(ipToBytes(neighbour.ip)),
            lladdr: neighbour.mac === undefined ? undefined : buffer(macToBytes(neighbour.mac)),
          }),
        );
        const b = rt.parseNeighborMessage(encode({ op: "replace", kind: "fdb", fdb }).data);
        assert.equal(b.data.family, 7);
        assert.deepEqual(b.data.flags, { self: true });
        const port = Buffer.alloc(2);
        port.writeUInt16BE(fdb.port ?? 0);
        assert.deepEqual(
          { ...b.attrs },
          defined({
            lladdr: buffer(macToBytes(fdb.mac)),
            dst: buffer(ipToBytes(fdb.dst)),
            port: fdb.port === undefined ? undefined : port,
            vni: u32(fdb.vni),
          }),
        );
      }),
    );
  });

  it("makes neighbours and FDB entries permanent unless told otherwise", () => {
    const entry = { ifindex: 1, mac: "02:00:00:00:00:01" };
    const messages = [
      encode({ op: "add", kind: "neighbour", neighbour: { ...entry, ip: "10.0.0.1" } }),
      encode({ op: "add", kind: "fdb", fdb: { ...entry, dst: "10.0.0.1" } }),
    ];
    for (const { data } of messages) assert.deepEqual(rt.parseNeighborMessage(data).data.state, { permanent: true });
  });

  it("writes rules that the package reads", () => {
    fc.assert(
      fc.property(arbitrary.rule, (rule) => {
        const { data, attrs } = rt.parseRuleMessage(encode({ op: "add", kind: "rule", rule }).data);
        assert.equal(data.family, rule.family === 4 ? 2 : 10);
        assert.equal(data.action, "toTbl");
        assert.equal(data.dstLen, rule.dst === undefined ? 0 : cidrOf(rule.dst).prefix);
        assert.equal(data.srcLen, rule.src === undefined ? 0 : cidrOf(rule.src).prefix);
        const network = (cidr: string | undefined) => cidr && buffer(ipToBytes(cidr.split("/")[0] as string));
        assert.deepEqual(
          { ...attrs },
          defined({
            dst: network(rule.dst),
            src: network(rule.src),
            iifname: rule.iifname,
            oifname: rule.oifname,
            priority: rule.priority,
            table: rule.table,
            fwmark: rule.fwmark,
            fwmask: rule.fwmask,
            suppressPrefixlen: u32(rule.suppressPrefixLength),
            protocol: rule.protocol,
            ipProto: rule.ipProto,
            sportRange: rule.sport === undefined ? undefined : { start: rule.sport, end: rule.sport },
            dportRange: rule.dport === undefined ? undefined : { start: rule.dport, end: rule.dport },
          }),
        );
      }),
    );
  });

  it("writes new devices that the package reads", () => {
    fc.assert(
      fc.property(arbitrary.linkSpec, (link) => {
        const { data, attrs } = rt.parseLinkMessage(encode({ op: "add", kind: "link", link }).data);
        assert.equal(data.index, 0);
        assert.equal(attrs.ifname, link.name);
        assert.equal(attrs.mtu, link.mtu);
        assert.equal(attrs.group, link.group);
        const mac = link.kind === "ifb" || link.kind === "wireguard" ? undefined : link.mac;
        assert.deepEqual(attrs.address, mac === undefined ? undefined : buffer(macToBytes(mac)));
        const info = getMap(attrs.linkinfo as Buffer, (value) => value);
        assert.equal(getString(info.get(1) as Buffer), link.kind);
        if (link.kind === "vxlan") {
          const port = Buffer.alloc(2);
          port.writeUInt16BE(link.port);
          const local = link.local === undefined ? undefined : buffer(ipToBytes(link.local));
          assert.deepEqual(
            { ...ifla.parseVxlan(info.get(2) as Buffer) },
            defined({
              id: link.vni,
              local: local?.length === 4 ? local : undefined,
              local6: local?.length === 16 ? local : undefined,
              port,
              learning: link.learning ? 1 : 0,
              link: link.link,
            }),
          );
        }
        if (link.kind === "veth") {
          const peer = rt.parseLinkMessage(getMap(info.get(2) as Buffer, (value) => value).get(1) as Buffer);
          assert.deepEqual(
            { ...peer.attrs },
            defined({
              ifname: link.peer.name,
              address: link.peer.mac === undefined ? undefined : buffer(macToBytes(link.peer.mac)),
              mtu: link.peer.mtu,
              group: link.peer.group,
              txqlen: link.peer.txQueueLen,
              netNsFd: link.peer.netnsFd,
            }),
          );
        }
      }),
    );
  });

  it("writes changes of devices that the package reads", () => {
    const change = {
      index: 9,
      name: "a",
      mtu: 1450,
      mac: "02:00:00:00:00:01",
      alias: "ns/pod/eth0",
      group: 7,
      master: 0,
    };
    const { data, attrs } = rt.parseLinkMessage(
      encode({ op: "set", kind: "link", link: { ...change, up: false, addrGenMode: "none" } }).data,
    );
    assert.equal(data.index, 9);
    assert.deepEqual([data.flags, data.change], [{}, { up: true }]);
    const { afSpec, ...rest } = attrs;
    assert.deepEqual(rest, {
      ifname: "a",
      address: Buffer.from([2, 0, 0, 0, 0, 1]),
      mtu: 1450,
      group: 7,
      ifalias: "ns/pod/eth0",
      master: 0,
    });
    const modes = getMap((afSpec as unknown as Map<number, Buffer>).get(10) as Buffer, (value) => [...value]);
    assert.deepEqual([...modes], [[8, [1]]]);
    const untouched = rt.parseLinkMessage(encode({ op: "set", kind: "link", link: { index: 9, alias: "" } }).data);
    assert.deepEqual([untouched.data.flags, untouched.data.change, untouched.attrs], [{}, {}, { ifalias: "" }]);
  });
});
