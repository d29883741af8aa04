import assert from "node:assert/strict";
import fc from "fast-check";
import { ipToBytes } from "../../../../src/addr/index.ts";
import { udpPacket } from "../../../../src/dataplane/nfqueue/index.ts";

const udp = (payload: string, length = 8 + payload.length): Buffer => {
  const header = Buffer.alloc(8);
  header.writeUInt16BE(length, 4);
  return Buffer.concat([header, Buffer.from(payload)]);
};

function ipv4(body: Buffer, { options = 0, fragment = 0, protocol = 17 } = {}): Buffer {
  const header = Buffer.alloc(20 + options);
  header[0] = 0x40 | (header.length / 4);
  header.writeUInt16BE(header.length + body.length, 2);
  header.writeUInt16BE(fragment, 6);
  header[9] = protocol;
  header.set(ipToBytes("10.0.0.2"), 16);
  return Buffer.concat([header, body]);
}

function ipv6(body: Buffer, next = 17): Buffer {
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(body.length, 4);
  header[6] = next;
  header.set(ipToBytes("fd00::2"), 24);
  return Buffer.concat([header, body]);
}

describe("a UDP packet that is held", () => {
  it("has its payload and whom it goes to read, in both families", () => {
    for (const [packet, destination] of [
      [ipv4(udp("answer")), "10.0.0.2"],
      [ipv4(udp("answer"), { options: 8, fragment: 0x4000 }), "10.0.0.2"],
      [ipv6(udp("answer")), "fd00::2"],
    ] as const) {
      const found = udpPacket(packet);
      assert.deepEqual([found?.destination, found?.payload.toString()], [destination, "answer"]);
    }
    // What is behind its end is not its own.
    assert.equal(udpPacket(Buffer.concat([ipv4(udp("answer")), Buffer.from("more")]))?.payload.toString(), "answer");
  });

  it("is none where it is another protocol, a fragment, or shorter than it says", () => {
    assert.equal(udpPacket(ipv4(udp("answer"), { protocol: 6 })), undefined);
    assert.equal(udpPacket(ipv4(udp("answer"), { fragment: 0x2000 })), undefined);
    assert.equal(udpPacket(ipv4(udp("answer", 100))), undefined);
    assert.equal(udpPacket(ipv4(udp("answer", 3))), undefined);
    assert.equal(udpPacket(ipv6(udp("answer"), 0)), undefined);
    const whole = ipv6(udp("answer"));
    for (let length = 0; length < whole.length; length++) assert.equal(udpPacket(whole.subarray(0, length)), undefined);
  });

  it("is something, or nothing, of any bytes", () => {
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => void udpPacket(Buffer.from(bytes))));
  });
});
