import assert from "node:assert/strict";
import { splitMessages } from "../../../src/netlink/decode/message.ts";
import { MalformedMessage } from "../../../src/netlink/index.ts";
import {
  decodeWireguard,
  joinWireguard,
  wireguardChanges,
  wireguardQuestion,
  wireguardSettings,
} from "../../../src/netlink/generic/wireguard.ts";
import { MessageWriter } from "../../../src/netlink/transport/writer.ts";

const KEYS = [1, 2].map((byte) => Buffer.alloc(32, byte));
const [A, B] = KEYS.map((key) => key.toString("base64")) as [string, string];

function body(write: (w: MessageWriter) => void): Buffer {
  const w = new MessageWriter();
  w.message(0x1c, 0, 1, () => write(w));
  return splitMessages(w.buffer.subarray(0, w.length))[0]?.data as Buffer;
}

/** An attribute, as little-endian machines have it. */
const attribute = (type: number, ...parts: Uint8Array[]): Buffer => {
  const value = Buffer.concat(parts);
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + value.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, value, Buffer.alloc(-value.length & 3)]);
};
const hex = (text: string): Buffer => Buffer.from(text.replaceAll(" ", ""), "hex");

describe("WireGuard's generic netlink", () => {
  it("asks for a device by its name", () => {
    const asked = Buffer.concat([hex("00 01 0000"), attribute(2, Buffer.from("skylane-wg\0"))]);
    assert.deepEqual(
      body((w) => wireguardQuestion(w, "skylane-wg")),
      asked,
    );
  });

  it("sets key, port in the machine's order, and mark", () => {
    const settings = { privateKey: KEYS[0] as Buffer, listenPort: 51_871, fwmark: 0 };
    assert.deepEqual(
      body((w) => wireguardSettings(w, "wg", settings)),
      Buffer.concat([
        hex("01 01 0000"),
        attribute(2, Buffer.from("wg\0")),
        attribute(3, KEYS[0] as Buffer),
        attribute(6, hex("9fca")),
        attribute(7, hex("00000000")),
      ]),
    );
    assert.throws(() => body((w) => wireguardChanges(w, "wg", [{ op: "remove", publicKey: "AAAA" }])), RangeError);
  });

  it("puts a peer with its address alone, has it begin a handshake, and removes one", () => {
    const nested = 0x8000;
    const peer = { publicKey: A, endpoint: { ip: "fd30::2", port: 51_871 }, allowedIps: ["fd30::2/128"] };
    const address = hex("fd30 0000 0000 0000 0000 0000 0000 0002");
    const put = attribute(
      nested,
      attribute(1, KEYS[0] as Buffer),
      attribute(2, Buffer.alloc(32)),
      attribute(3, hex("02000000")),
      attribute(4, hex("0a00 ca9f 00000000"), address, hex("00000000")),
      attribute(5, hex("0100")),
      attribute(
        nested | 9,
        attribute(nested, attribute(1, hex("0a00")), attribute(2, address), attribute(3, hex("80"))),
      ),
    );
    const quiet = attribute(
      nested,
      attribute(1, KEYS[0] as Buffer),
      attribute(3, hex("04000000")),
      attribute(5, hex("0000")),
    );
    const gone = attribute(nested, attribute(1, KEYS[1] as Buffer), attribute(3, hex("01000000")));
    assert.deepEqual(
      body((w) =>
        wireguardChanges(w, "wg", [
          { op: "put", peer },
          { op: "remove", publicKey: B },
        ]),
      ),
      Buffer.concat([hex("01 01 0000"), attribute(2, Buffer.from("wg\0")), attribute(nested | 8, put, quiet, gone)]),
    );
  });

  it("wakes a peer that is there by a keepalive that is set and taken back", () => {
    const nested = 0x8000;
    const keepalive = (seconds: string): Buffer =>
      attribute(nested, attribute(1, KEYS[0] as Buffer), attribute(3, hex("04000000")), attribute(5, hex(seconds)));
    assert.deepEqual(
      body((w) => wireguardChanges(w, "wg", [{ op: "wake", publicKey: A }])),
      Buffer.concat([
        hex("01 01 0000"),
        attribute(2, Buffer.from("wg\0")),
        attribute(nested | 8, keepalive("0100"), keepalive("0000")),
      ]),
    );
  });

  it("reads a device whose peers come in several messages, one of them in two", () => {
    const allowed = (last: number): Buffer =>
      attribute(0, attribute(1, hex("0200")), attribute(2, hex(`0a00000${last}`)), attribute(3, hex("20")));
    const first = Buffer.concat([
      hex("00 01 0000"),
      attribute(6, hex("9fca")),
      attribute(1, hex("05000000")),
      attribute(2, Buffer.from("wg\0")),
      attribute(3, KEYS[1] as Buffer),
      attribute(4, KEYS[0] as Buffer),
      attribute(
        8,
        attribute(
          0,
          attribute(1, KEYS[1] as Buffer),
          attribute(2, Buffer.alloc(32, 9)),
          attribute(6, hex("0a00000000000000 0000000000000000")),
          attribute(7, hex("0100000000000000")),
          attribute(8, hex("0200000000000000")),
          attribute(4, hex("0200 ca9f 0a000001 0000000000000000")),
          attribute(9, allowed(1)),
        ),
      ),
    ]);
    const second = Buffer.concat([
      hex("00 01 0000"),
      attribute(8, attribute(0, attribute(1, KEYS[1] as Buffer), attribute(9, allowed(2)))),
    ]);
    assert.deepEqual(joinWireguard([decodeWireguard(first), decodeWireguard(second)]), {
      publicKey: A,
      listenPort: 51_871,
      fwmark: 0,
      peers: [
        {
          publicKey: B,
          preshared: true,
          lastHandshake: 10,
          rxBytes: 1,
          txBytes: 2,
          endpoint: { ip: "10.0.0.1", port: 51_871 },
          allowedIps: ["10.0.0.1/32", "10.0.0.2/32"],
        },
      ],
    });
  });

  it("refuses what contradicts itself", () => {
    for (const wrong of [
      "",
      "00 01",
      "00 01 0000 0400",
      "00 01 0000 ff00 0800",
      "00 01 0000 0800 0400 00000000", // a key of four bytes
      "00 01 0000 0800 0880 04000080", // a peer without a key
    ])
      assert.throws(() => decodeWireguard(hex(wrong)), MalformedMessage, wrong);
  });
});
