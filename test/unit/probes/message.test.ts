import assert from "node:assert/strict";
import fc from "fast-check";
import { decode, encode, type Message } from "../../../src/probes/message.ts";

const nonce = fc.bigInt({ min: 0n, max: (1n << 64n) - 1n });
const subject = fc.constantFrom("192.0.2.1", "2001:db8::1", "fd00:10:244::");
const seen = fc.constantFrom("answers", "lossy", "narrow", "silent");
const finding = fc.record(
  {
    inside: fc.record({ 4: seen, 6: seen }, { requiredKeys: [], noNullPrototype: true }),
    beside: seen,
    hears: fc.boolean(),
  },
  { requiredKeys: ["inside"], noNullPrototype: true },
);
const plain = { noNullPrototype: true } as const;
const message: fc.Arbitrary<Message> = fc.oneof(
  fc.record({ kind: fc.constant("probe" as const), nonce }, plain),
  fc.record({ kind: fc.constant("question" as const), nonce, subject, question: nonce, urgent: fc.boolean() }, plain),
  fc.record({ kind: fc.constant("report" as const), nonce, subject, question: nonce, finding }, plain),
) as fc.Arbitrary<Message>;

describe("what agents say in echo requests", () => {
  it("is read as it was written, and always as long", () => {
    fc.assert(
      fc.property(message, (said) => {
        const data = encode(said);
        assert.equal(data.length, 48);
        assert.deepEqual(decode(data), said);
      }),
    );
  });

  it("is nothing where it is anything else", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        const read = decode(Buffer.from(bytes));
        assert.ok(read === undefined || bytes.length >= 48);
      }),
    );
    assert.equal(decode(Buffer.alloc(47)), undefined);
    assert.equal(decode(Buffer.alloc(48, 9)), undefined);
  });
});
