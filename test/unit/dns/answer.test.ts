import assert from "node:assert/strict";
import fc from "fast-check";
import { ipToBytes } from "../../../src/addr/index.ts";
import { readAnswer } from "../../../src/dns/index.ts";
import { answerBytes, nameBytes, type TestRecord } from "./messages.ts";

const address = (owner: string, ip: string, ttl = 60): TestRecord => ({
  owner,
  type: ip.includes(":") ? "AAAA" : "A",
  ttl,
  data: Buffer.from(ipToBytes(ip)),
});
const alias = (owner: string, to: string, ttl = 60): TestRecord => ({ owner, type: "CNAME", ttl, data: nameBytes(to) });

describe("answers of DNS servers", () => {
  it("say which addresses the name has that was asked for, in small letters", () => {
    const message = answerBytes("Www.Example.COM", [
      address("Www.Example.COM", "192.0.2.1", 30),
      address("www.example.com", "192.0.2.2", 90),
    ]);
    assert.deepEqual(readAnswer(message), {
      name: "www.example.com",
      addresses: [
        { ip: "192.0.2.1", ttl: 30 },
        { ip: "192.0.2.2", ttl: 90 },
      ],
    });
    const six = answerBytes("a.example", [address("a.example", "2001:db8::1")], { type: "AAAA" });
    assert.deepEqual(readAnswer(six)?.addresses, [{ ip: "2001:db8::1", ttl: 60 }]);
  });

  it("follow aliases in whichever order they are, with the least TTL on the way", () => {
    const message = answerBytes("a.example", [
      address("c.example", "192.0.2.1", 300),
      alias("b.example", "c.example", 20),
      alias("a.example", "b.example", 60),
    ]);
    assert.deepEqual(readAnswer(message), { name: "a.example", addresses: [{ ip: "192.0.2.1", ttl: 20 }] });
  });

  it("say nothing of names that were not asked for, nor of aliases in a circle", () => {
    const foreign = answerBytes("a.example", [address("bank.example", "192.0.2.1")]);
    assert.deepEqual(readAnswer(foreign)?.addresses, []);
    const circle = answerBytes("a.example", [alias("a.example", "b.example"), alias("b.example", "a.example")]);
    assert.deepEqual(readAnswer(circle)?.addresses, []);
    const others = answerBytes("a.example", [{ owner: "a.example", type: "TXT", data: Buffer.from("\u0004text") }]);
    assert.deepEqual(readAnswer(others)?.addresses, []);
  });

  it("are none where they are questions, errors, or about no or several names", () => {
    const records = [address("a.example", "192.0.2.1")];
    for (const flags of [0x0100, 0x8183, 0x8182, 0xa180])
      assert.equal(readAnswer(answerBytes("a.example", records, { flags })), undefined);
    for (const questions of [0, 2]) {
      const message = answerBytes("a.example", records);
      message.writeUInt16BE(questions, 4);
      assert.equal(readAnswer(message), undefined);
    }
  });

  it("keep a dot within a label from being the end of one", () => {
    const header = answerBytes("", []).subarray(0, 12);
    const whole = Buffer.concat([header, Buffer.from("\u0009evil.bank\u0007example\u0000\u0000\u0001\u0000\u0001")]);
    assert.equal(readAnswer(whole)?.name, "evil\\046bank.example");
  });

  it("end where names are endless, longer than names may be, or not there", () => {
    const question = Buffer.from([0, 1, 0, 1]);
    const header = answerBytes("", []).subarray(0, 12);
    const named = (...name: number[]): Buffer => Buffer.concat([header, Buffer.from(name), question]);
    assert.equal(readAnswer(named(0xc0, 12)), undefined);
    assert.equal(readAnswer(named(1, 97, 0xc0, 12)), undefined);
    assert.equal(readAnswer(named(0xc0, 14, 0xc0, 12)), undefined);
    assert.equal(readAnswer(named(0x80, 0)), undefined);
    const long = Array.from({ length: 5 }, () => [63, ...Array.from({ length: 63 }, () => 97)]).flat();
    assert.equal(readAnswer(named(...long, 0)), undefined);
    const whole = answerBytes("a.example", [address("a.example", "192.0.2.1"), alias("b.example", "c.example")]);
    assert.ok(readAnswer(whole));
    for (let length = 0; length < whole.length; length++)
      assert.equal(readAnswer(whole.subarray(0, length)), undefined);
  });

  it("never fail, whatever the bytes are", () => {
    const good = answerBytes("a.example", [alias("a.example", "b.example"), address("b.example", "192.0.2.1")]);
    fc.assert(
      fc.property(
        fc.array(fc.tuple(fc.nat({ max: good.length - 1 }), fc.nat({ max: 255 })), { maxLength: 8 }),
        fc.uint8Array({ maxLength: 40 }),
        (changes, more) => {
          const message = Buffer.concat([good, more]);
          for (const [at, byte] of changes) message[at] = byte;
          const answer = readAnswer(message);
          assert.ok(answer === undefined || answer.addresses.length <= 256);
          readAnswer(Buffer.from(more));
        },
      ),
      { numRuns: 5_000 },
    );
  });
});
