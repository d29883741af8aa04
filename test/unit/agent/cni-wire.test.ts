import assert from "node:assert/strict";
import fc from "fast-check";
import { encodeAnswer, RequestReader } from "../../../src/cni-server/cni-wire.ts";

/** A request as the launcher sends it. */
function encode(variables: string[], configuration: Buffer, ids: bigint[] = [4n, 11n]): Buffer {
  const block = Buffer.from(variables.map((variable) => `${variable}\0`).join(""));
  const head = Buffer.alloc(64, 7);
  head.write("skylane3");
  head.writeUInt32LE(block.length, 8);
  head.writeUInt32LE(configuration.length, 12);
  for (const [at, id] of ids.entries()) head.writeBigUInt64LE(id, 16 + 8 * at);
  return Buffer.concat([head, block, configuration]);
}

describe("a launcher's request", () => {
  it("is read whole, in whatever pieces it comes", function () {
    this.timeout(60_000);
    const variable = fc.tuple(fc.constantFrom("CNI_ARGS", "CNI_PATH", "CNI_NETNS"), fc.string({ unit: "binary" }));
    fc.assert(
      fc.property(
        fc.array(variable, { maxLength: 5 }),
        fc.uint8Array({ maxLength: 500 }),
        fc.array(fc.nat({ max: 700 }), { maxLength: 6 }),
        (variables, bytes, cuts) => {
          const env = Object.fromEntries(variables.map(([name, value]) => [name, value.replaceAll("\0", "")]));
          const all = encode(
            Object.entries(env).map(([name, value]) => `${name}=${value}`),
            Buffer.from(bytes),
          );
          const reader = new RequestReader();
          const ends = [...cuts.map((cut) => cut % all.length).sort((a, b) => a - b), all.length];
          let got: ReturnType<RequestReader["push"]>;
          let from = 0;
          for (const end of ends) {
            if (end === from) continue;
            assert.equal(got, undefined, "whole before its end");
            got = reader.push(all.subarray(from, end));
            from = end;
          }
          assert.deepEqual(
            got?.env,
            Object.fromEntries(Object.entries(env).map(([k, v]) => [k, Buffer.from(v).toString()])),
          );
          assert.deepEqual(got?.configuration, Buffer.from(bytes));
          assert.deepEqual(got?.own, { dev: 4, ino: 11 });
          assert.deepEqual(Buffer.from(got?.key ?? []), Buffer.alloc(32, 7));
        },
      ),
    );
  });

  it("takes no variable but the protocol's", () => {
    const read = new RequestReader().push(
      encode(
        ["CNI_COMMAND=ADD", "PATH=/bin", "__proto__=x", "CNI_x=1", "=", "CNI_ARGS", "SKYLANE_REQUEST=0"],
        Buffer.alloc(0),
      ),
    );
    assert.deepEqual(read?.env, { CNI_COMMAND: "ADD", SKYLANE_REQUEST: "0" });
  });

  it("is refused by name when it is none, too large, or followed by more", () => {
    const whole = encode([], Buffer.from("{}"));
    assert.throws(() => new RequestReader().push(Buffer.alloc(64)), /^RangeError: not a request/);
    assert.throws(
      () => new RequestReader().push(Buffer.concat([whole, Buffer.from("x")])),
      /1 bytes after the request/,
    );
    for (const at of [8, 12]) {
      const large = Buffer.from(whole);
      large.writeUInt32LE(0xffff_ffff, at);
      assert.throws(() => new RequestReader().push(large), /too large/);
    }
  });

  it("never makes the reader do anything but wait, answer or refuse, in whatever pieces it comes, and then it is over", function () {
    this.timeout(60_000);
    /** The most that a request may be. */
    const LIMIT = 64 + 64 * 1024 + 1024 * 1024;
    const length = fc.oneof(fc.nat({ max: 70_000 }), fc.constantFrom(0, 65_536, 1_048_576, 1_048_577, 0xffff_ffff));
    const bytes = fc.uint8Array({ maxLength: 300 });
    fc.assert(
      fc.property(
        fc.option(fc.tuple(length, length), { nil: undefined }),
        bytes,
        fc.array(fc.oneof(bytes, fc.nat({ max: 400_000 })), { maxLength: 12 }),
        (lengths, start, pieces) => {
          const head = Buffer.alloc(lengths ? 16 : 0);
          if (lengths) {
            head.write("skylane3");
            for (const [at, one] of lengths.entries()) head.writeUInt32LE(one, 8 + 4 * at);
          }
          const reader = new RequestReader();
          let sent = 0;
          let over = false;
          /** @returns whether it is over */
          const push = (piece: Buffer): boolean => {
            if (over) return true;
            sent += piece.length;
            try {
              over = reader.push(piece) !== undefined;
            } catch (error) {
              assert.ok(error instanceof RangeError, String(error));
              over = true;
            }
            return over;
          };
          for (const one of head) push(Buffer.from([one]));
          push(Buffer.from(start));
          for (const one of pieces) push(typeof one === "number" ? Buffer.alloc(one, 1) : Buffer.from(one));
          // Whoever goes on and on is cut off at the largest request at the latest.
          let ended = false;
          for (let n = 0; n < 20 && !ended; n++) ended = push(Buffer.alloc(65_536, 0));
          assert.ok(ended, `it waits for more after ${sent} bytes`);
          assert.ok(sent <= LIMIT + 400_000, `it took ${sent} bytes`);
        },
      ),
    );
  });

  it("costs no more in single bytes than its size", () => {
    const all = encode(["CNI_ARGS=x"], Buffer.alloc(300_000, 0x20));
    const reader = new RequestReader();
    const before = process.memoryUsage().arrayBuffers;
    let got: ReturnType<RequestReader["push"]>;
    for (let at = 0; at < all.length; at++) got = reader.push(all.subarray(at, at + 1));
    assert.equal(got?.configuration.length, 300_000);
    assert.ok(process.memoryUsage().arrayBuffers - before < 20 * 1024 * 1024);
  });
});

describe("an answer to the launcher", () => {
  it("is its status, its length in bytes, and itself", () => {
    const bytes = encodeAnswer({ exitCode: 1, stdout: "é\n" });
    assert.deepEqual([bytes.readUInt32LE(0), bytes.readUInt32LE(4), bytes.toString("utf8", 8)], [1, 3, "é\n"]);
  });
});
