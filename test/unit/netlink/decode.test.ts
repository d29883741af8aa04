/** Reading back what was written, and never more than a named error for bytes that are no message. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { decodeAddress } from "../../../src/netlink/decode/address.ts";
import { decodeLink } from "../../../src/netlink/decode/link.ts";
import {
  decodeDone,
  decodeError,
  decodeEvent,
  guarded,
  type NetlinkMessage,
  splitMessages,
} from "../../../src/netlink/decode/message.ts";
import { decodeNeighbour } from "../../../src/netlink/decode/neighbour.ts";
import { decodeRoute, decodeRouteAnswer } from "../../../src/netlink/decode/route.ts";
import { decodeRule } from "../../../src/netlink/decode/rule.ts";
import { writeOperation } from "../../../src/netlink/encode/operation.ts";
import { MalformedMessage } from "../../../src/netlink/errors.ts";
import type { Operation } from "../../../src/netlink/types.ts";
import { MessageWriter } from "../../../src/netlink/transport/writer.ts";
import * as arbitrary from "./arbitraries.ts";

function encode(operation: Operation): NetlinkMessage {
  const writer = new MessageWriter();
  writeOperation(writer, operation, 1);
  return splitMessages(writer.buffer.subarray(0, writer.length))[0] as NetlinkMessage;
}

/** A message as the kernel would send it. */
function message(type: number, flags: number, data: Buffer): NetlinkMessage {
  return { type, flags, seq: 1, port: 1, data };
}

/** An NLMSG_ERROR with the request's header and, unless capped, its 5 bytes of content. */
function errorMessage(errno: number, options: { capped?: boolean; text?: string } = {}): NetlinkMessage {
  const w = new MessageWriter();
  w.u32(-errno);
  w.message(24, 5, 1, () => (options.capped ? undefined : w.attributeU8(1, 1)));
  if (options.capped) w.buffer.writeUInt32LE(21, 4);
  if (options.text !== undefined) w.attributeString(1, options.text);
  const flags = (options.capped ? 0x100 : 0) | (options.text === undefined ? 0 : 0x200);
  return message(2, flags, Buffer.from(w.buffer.subarray(0, w.length)));
}

describe("decoding", () => {
  it("reads back every object as it was written", () => {
    fc.assert(
      fc.property(
        arbitrary.address,
        arbitrary.route,
        arbitrary.neighbour,
        arbitrary.fdb,
        arbitrary.rule,
        (address, route, neighbour, fdb, rule) => {
          assert.deepEqual(decodeEvent(encode({ op: "add", kind: "address", address })), {
            event: "new",
            kind: "address",
            address,
          });
          assert.deepEqual(decodeEvent(encode({ op: "del", kind: "route", route })), {
            event: "del",
            kind: "route",
            route,
          });
          assert.deepEqual(decodeEvent(encode({ op: "replace", kind: "neighbour", neighbour })), {
            event: "new",
            kind: "neighbour",
            neighbour,
          });
          assert.deepEqual(decodeEvent(encode({ op: "del", kind: "fdb", fdb })), { event: "del", kind: "fdb", fdb });
          assert.deepEqual(decodeRule(encode({ op: "add", kind: "rule", rule }).data), rule);
        },
      ),
    );
  });

  it("reads devices", () => {
    const link = decodeLink(
      encode({
        op: "add",
        kind: "link",
        link: {
          kind: "vxlan",
          name: "sky.1",
          vni: 1,
          port: 8472,
          local: "fd30::1",
          mac: "02:00:00:00:00:01",
          mtu: 1430,
          group: 3,
          link: 4,
        },
      }).data,
    );
    assert.deepEqual(link, {
      index: 0,
      name: "sky.1",
      kind: "vxlan",
      mac: "02:00:00:00:00:01",
      mtu: 1430,
      group: 3,
      up: false,
      lowerUp: false,
      loopback: false,
      noMulticast: true,
      vxlan: { vni: 1, port: 8472, local: "fd30::1", learning: false, link: 4 },
    });
    const changed = decodeLink(
      encode({ op: "set", kind: "link", link: { index: 5, up: true, alias: "a/b/c", master: 7, addrGenMode: "none" } })
        .data,
    );
    assert.deepEqual(
      [changed.index, changed.up, changed.alias, changed.master, changed.addrGenMode],
      [5, true, "a/b/c", 7, "none"],
    );
  });

  it("does not take a bridge port's message for its device's", () => {
    const left = encode({ op: "del", kind: "link", link: { index: 5 } });
    assert.equal(decodeEvent(left)?.kind, "link");
    left.data[0] = 7;
    assert.deepEqual(decodeEvent(left), { event: "del", kind: "bridgePort", bridgePort: { ifindex: 5 } });
    left.data[0] = 10;
    assert.equal(decodeEvent(left), undefined);
  });

  it("tells an FDB entry of a bridge from one of its port, and a locked one from one that is let in", () => {
    const mac = "02:00:00:00:00:01";
    const entry = encode({ op: "add", kind: "bridgeFdb", bridgeFdb: { ifindex: 3, mac } });
    const attribute = (type: number, value: number): Buffer => {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt16LE(8, 0);
      bytes.writeUInt16LE(type, 2);
      bytes.writeUInt32LE(value, 4);
      return bytes;
    };
    assert.equal(decodeEvent(entry), undefined, "without its bridge it is of no use");
    const [NDA_MASTER, NDA_FLAGS_EXT] = [9, 15];
    const fromKernel = (flags: number, ...more: Buffer[]) => {
      const data = Buffer.concat([entry.data, attribute(NDA_MASTER, 2), ...more]);
      data[10] = flags;
      return decodeEvent({ ...entry, data });
    };
    const bridgeFdb = { ifindex: 3, mac, master: 2, state: 0x40 };
    assert.deepEqual(fromKernel(0x10), {
      event: "new",
      kind: "bridgeFdb",
      bridgeFdb: { ...bridgeFdb, external: true },
    });
    assert.deepEqual(fromKernel(0, attribute(NDA_FLAGS_EXT, 2)), {
      event: "new",
      kind: "bridgeFdb",
      bridgeFdb: { ...bridgeFdb, locked: true },
    });
    const [NDA_VLAN, vlan] = [5, Buffer.from([6, 0, 5, 0, 1, 0, 0, 0])];
    assert.equal(vlan[2], NDA_VLAN);
    assert.deepEqual(fromKernel(0x10, vlan), {
      event: "new",
      kind: "bridgeFdb",
      bridgeFdb: { ...bridgeFdb, external: true, vlan: 1 },
    });
    assert.equal(fromKernel(0x02), undefined, "of the device itself, and without a remote end");
  });

  it("passes over cached routes, proxy neighbours, FDB entries without a bridge and unknown messages", () => {
    const route = encode({ op: "add", kind: "route", route: { family: 6, dst: "fd00::/64", ifindex: 1 } });
    route.data.writeUInt32LE(0x200, 8);
    assert.equal(decodeEvent(route), undefined);
    const proxy = encode({ op: "add", kind: "neighbour", neighbour: { ifindex: 1, ip: "10.0.0.1" } });
    proxy.data[10] = 8;
    assert.equal(decodeEvent(proxy), undefined);
    const bridge = encode({ op: "add", kind: "fdb", fdb: { ifindex: 1, mac: "02:00:00:00:00:01", dst: "10.0.0.1" } });
    bridge.data[10] = 4;
    assert.equal(decodeEvent(bridge), undefined);
    assert.equal(decodeEvent(message(999, 0, Buffer.from([1, 2, 3]))), undefined);
  });

  it("reads the kernel's explanation whether or not the request comes along", () => {
    assert.deepEqual(decodeError(errorMessage(17)), { errno: 17 });
    assert.deepEqual(decodeError(errorMessage(34, { text: "too large" })), { errno: 34, extack: "too large" });
    assert.deepEqual(decodeError(errorMessage(34, { capped: true, text: "too large" })), {
      errno: 34,
      extack: "too large",
    });
    assert.deepEqual(decodeError(errorMessage(0, { capped: true })), { errno: 0 });
  });

  it("reads the error at the end of a list", () => {
    const done = (errno: number) => {
      const data = Buffer.alloc(4);
      data.writeInt32LE(-errno);
      return message(3, 2, data);
    };
    assert.deepEqual(decodeDone(done(0)), { errno: 0 });
    assert.deepEqual(decodeDone(done(4)), { errno: 4 });
    assert.deepEqual(decodeDone(message(3, 2, Buffer.alloc(0))), { errno: 0 });
  });

  it("throws nothing but MalformedMessage for any bytes", () => {
    const types = fc.oneof(fc.constantFrom(2, 3, 16, 17, 20, 21, 24, 25, 28, 29, 32), fc.nat(0xffff));
    const decoders = [decodeAddress, decodeLink, decodeNeighbour, decodeRoute, decodeRouteAnswer, decodeRule];
    const harmless = (decode: () => unknown) => {
      try {
        decode();
      } catch (error) {
        assert.ok(error instanceof MalformedMessage, String(error));
      }
    };
    fc.assert(
      fc.property(types, fc.nat(0xffff), fc.uint8Array({ maxLength: 200 }), (type, flags, bytes) => {
        const data = Buffer.from(bytes);
        harmless(() => splitMessages(data));
        harmless(() => decodeEvent(message(type, flags, data)));
        harmless(() => decodeError(message(2, flags, data)));
        harmless(() => decodeDone(message(3, flags, data)));
        for (const decode of decoders) harmless(() => guarded("message", () => decode(data)));
      }),
      { numRuns: 3_000 },
    );
  });

  it("throws nothing but MalformedMessage for messages that were cut or changed in transit", () => {
    const object: fc.Arbitrary<Operation> = fc.oneof(
      arbitrary.route.map((route): Operation => ({ op: "add", kind: "route", route })),
      arbitrary.fdb.map((fdb): Operation => ({ op: "add", kind: "fdb", fdb })),
      arbitrary.neighbour.map((neighbour): Operation => ({ op: "add", kind: "neighbour", neighbour })),
      arbitrary.address.map((address): Operation => ({ op: "add", kind: "address", address })),
      arbitrary.linkSpec.map((link): Operation => ({ op: "add", kind: "link", link })),
    );
    fc.assert(
      fc.property(object, fc.nat(500), fc.nat(500), fc.nat(255), (operation, cut, at, value) => {
        const writer = new MessageWriter();
        writeOperation(writer, operation, 1);
        const bytes = Buffer.from(writer.buffer.subarray(0, writer.length));
        bytes[at % bytes.length] = value;
        for (const data of [bytes, bytes.subarray(0, cut % bytes.length)]) {
          try {
            for (const each of splitMessages(data)) decodeEvent(each);
          } catch (error) {
            assert.ok(error instanceof MalformedMessage, String(error));
          }
        }
      }),
      { numRuns: 3_000 },
    );
  });
});

describe("routes with more than one next hop", () => {
  const route = { family: 4, dst: "172.30.0.2/32", table: 51_872, hops: [7, 0x01_00_00_08], protocol: 83 } as const;
  const encoded = (): Buffer => Buffer.from(encode({ op: "add", kind: "route", route }).data);

  it("come back with their devices as they were written", () =>
    assert.deepEqual(decodeRoute(encoded()), {
      ...route,
      scope: 253,
      type: 1,
      multipath: true,
      hops: [...route.hops],
    }));

  it("are read whatever attributes the hops have, and never past their end", () => {
    const data = encoded();
    const at = data.indexOf(Buffer.from([8, 0, 0, 0, 7, 0, 0, 0]));
    for (const [length, hops] of [
      [0, [7]],
      [4, [7]],
      [16, [7]],
      [0xffff, [7]],
    ] as const) {
      data.writeUInt16LE(length, at);
      assert.deepEqual(decodeRoute(data)?.hops, hops);
    }
  });
});
