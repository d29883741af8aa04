import assert from "node:assert/strict";
import fc from "fast-check";
import { TransactionReader } from "../../../src/dataplane/nft/watched/watch.ts";

const SUBSYSTEM = 10;

function attribute(type: number, value: Buffer): Buffer {
  const header = Buffer.alloc(4);
  header.writeUInt16LE(4 + value.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, value, Buffer.alloc((4 - (value.length % 4)) % 4)]);
}

function message(kind: number, family: number, attributes: [number, string | Buffer][], subsystem = SUBSYSTEM): Buffer {
  const body = attributes.map(([type, value]) =>
    attribute(type, typeof value === "string" ? Buffer.from(`${value}\0`) : value),
  );
  const payload = Buffer.concat([Buffer.from([family, 0, 0, 0]), ...body]);
  const header = Buffer.alloc(16);
  header.writeUInt32LE(16 + payload.length, 0);
  header.writeUInt16LE((subsystem << 8) | kind, 4);
  return Buffer.concat([header, payload]);
}

function generation(number: number): Buffer {
  const value = Buffer.alloc(4);
  value.writeUInt32BE(number);
  return message(15, 0, [[1, value]]);
}

describe("reading nftables notifications", () => {
  it("puts together what one transaction touched, over any number of datagrams", () => {
    const reader = new TransactionReader();
    assert.deepEqual(reader.take(message(0, 1, [[1, "skylane"]])), []);
    const end = Buffer.concat([
      message(12, 1, [
        [1, "skylane"],
        [2, "peers4_4096"],
      ]),
      message(3, 2, [
        [1, "filter"],
        [3, "FORWARD"],
      ]),
      message(6, 10, [
        [1, "filter"],
        [2, "KUBE-SERVICES"],
      ]),
      generation(77),
      message(2, 2, [[1, "nat"]]),
      generation(78),
    ]);
    assert.deepEqual(reader.take(end), [
      {
        generation: 77,
        tables: new Set(["inet skylane", "ip filter", "ip6 filter"]),
        chains: new Set(["inet skylane", "ip filter FORWARD", "ip6 filter KUBE-SERVICES"]),
      },
      { generation: 78, tables: new Set(["ip nat"]), chains: new Set(["ip nat"]) },
    ]);
  });

  it("hears nothing else of netfilter", () => {
    const reader = new TransactionReader();
    const other = message(0, 1, [[1, "skylane"]], 1);
    assert.deepEqual(reader.take(Buffer.concat([other, generation(5)])), [
      { generation: 5, tables: new Set(), chains: new Set() },
    ]);
  });

  it("reads any bytes to an end", () => {
    const part = fc.oneof(
      fc.uint8Array({ maxLength: 80 }).map((bytes) => Buffer.from(bytes)),
      fc.tuple(fc.nat(30), fc.nat(12), fc.string()).map(([kind, family, name]) => message(kind, family, [[1, name]])),
    );
    fc.assert(
      fc.property(fc.array(part), fc.nat(200), (parts, cut) => {
        const bytes = Buffer.concat(parts);
        new TransactionReader().take(bytes.subarray(0, Math.max(0, bytes.length - cut)));
      }),
      { numRuns: 200 },
    );
  });
});
