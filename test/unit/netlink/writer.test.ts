import assert from "node:assert/strict";
import { parseAttributes, parseMessages } from "netlink/dist/structs.js";
import { MessageWriter } from "../../../src/netlink/transport/writer.ts";

const written = (w: MessageWriter) => parseMessages(w.buffer.subarray(0, w.length));

describe("MessageWriter", () => {
  it("writes messages behind each other, padded to four bytes, and grows", () => {
    const w = new MessageWriter(1);
    for (let i = 1; i <= 50; i++) {
      w.message(16, 1, i, () => {
        w.attributeString(3, "x".repeat(i));
        w.nest(18, () => w.attributeU8(1, i));
      });
      assert.equal(w.length % 4, 0);
    }
    const messages = written(w);
    assert.equal(messages.length, 50);
    messages.forEach((message, index) => {
      assert.equal(message.seq, index + 1);
      const seen: [number, number][] = [];
      parseAttributes(message.data, ({ type, data }) => seen.push([type, data.length]));
      assert.deepEqual(seen, [
        [3, index + 2],
        [18, 8],
      ]);
    });
  });

  it("sets flags of the last message only", () => {
    const w = new MessageWriter();
    w.message(16, 1, 1, () => w.u32(0));
    w.message(16, 1, 2, () => w.u32(0));
    w.addFlags(4);
    assert.deepEqual(
      written(w).map((message) => message.flags),
      [1, 5],
    );
  });

  it("takes back a message whose body throws", () => {
    const w = new MessageWriter();
    w.message(16, 1, 1, () => w.u32(1));
    assert.throws(() => w.message(16, 1, 2, () => w.attributeString(1, "a\0b")), RangeError);
    assert.deepEqual(
      written(w).map((message) => message.seq),
      [1],
    );
  });

  it("refuses what does not fit an attribute or a field", () => {
    const w = new MessageWriter();
    assert.throws(() => w.message(1, 0, 1, () => w.attribute(1, new Uint8Array(0x10000))), RangeError);
    assert.throws(
      () =>
        w.message(1, 0, 1, () =>
          w.nest(1, () => {
            w.attribute(1, new Uint8Array(0x9000));
            w.attribute(1, new Uint8Array(0x9000));
          }),
        ),
      RangeError,
    );
    assert.throws(() => w.message(1, 0, 1, () => w.attributeU16be(15, 65_536)), RangeError);
    assert.equal(w.length, 0);
  });
});
