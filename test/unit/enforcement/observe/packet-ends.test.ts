import assert from "node:assert/strict";
import fc from "fast-check";
import { packetEnds } from "../../../../src/dataplane/nflog/packet-ends.ts";
import { packetsOf } from "../../../../src/dataplane/nflog/packet-log.ts";
import { MalformedMessage } from "../../../../src/netlink/index.ts";

const ports = Buffer.from([0xc0, 0x00, 0x1f, 0x90, 0, 0, 0, 0]);

function ipv4(protocol: number, body: Buffer, { options = 0, fragment = 0 } = {}): Buffer {
  const header = Buffer.alloc(20 + options);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(fragment, 6);
  header[9] = protocol;
  header.set([10, 0, 0, 1], 12);
  header.set([10, 0, 0, 2], 16);
  return Buffer.concat([header, body]);
}

function ipv6(next: number, ...parts: Buffer[]): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header[6] = next;
  header.set([0xfd], 8);
  header[23] = 1;
  header.set([0xfd], 24);
  header[39] = 2;
  return Buffer.concat([header, ...parts]);
}

describe("the ends of a packet", () => {
  it("are read of both families", () => {
    const of4 = { source: "10.0.0.1", destination: "10.0.0.2" };
    assert.deepEqual(packetEnds(ipv4(6, ports)), { ...of4, protocol: 6, port: 8080 });
    assert.deepEqual(packetEnds(ipv4(17, ports, { options: 8 })), { ...of4, protocol: 17, port: 8080 });
    assert.deepEqual(packetEnds(ipv4(1, ports)), { ...of4, protocol: 1, port: undefined });
    const of6 = { source: "fd00::1", destination: "fd00::2" };
    assert.deepEqual(packetEnds(ipv6(132, ports)), { ...of6, protocol: 132, port: 8080 });
    assert.deepEqual(packetEnds(ipv6(58, ports)), { ...of6, protocol: 58, port: undefined });
  });

  it("are behind extension headers", () => {
    const hopByHop = Buffer.from([43, 0, 0, 0, 0, 0, 0, 0]);
    const routing = Buffer.from([60, 1, ...Buffer.alloc(14)]);
    const options = Buffer.from([51, 0, ...Buffer.alloc(6)]);
    const authentication = Buffer.from([44, 1, ...Buffer.alloc(10)]);
    const fragment = Buffer.from([6, 0, 0, 1, 0, 0, 0, 0]);
    const found = packetEnds(ipv6(0, hopByHop, routing, options, authentication, fragment, ports));
    assert.deepEqual([found?.protocol, found?.port], [6, 8080]);
  });

  it("have no port in a later fragment, nor where the bytes end", () => {
    assert.equal(packetEnds(ipv4(17, ports, { fragment: 0x2003 }))?.port, undefined);
    assert.equal(packetEnds(ipv6(44, Buffer.from([17, 0, 0, 9, 0, 0, 0, 0]), ports))?.port, undefined);
    assert.equal(packetEnds(ipv4(6, ports.subarray(0, 3)))?.port, undefined);
    assert.equal(packetEnds(ipv4(6, ports).subarray(0, 19)), undefined);
    assert.equal(packetEnds(Buffer.alloc(0)), undefined);
  });

  it("are something, or nothing, of any bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void packetEnds(Buffer.from(bytes))));
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          void [...packetsOf(Buffer.from(bytes))];
        } catch (error) {
          assert.ok(error instanceof MalformedMessage, String(error));
        }
      }),
    );
  });
});
